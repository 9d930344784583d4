"""Times of a quantum readout: at inference beside classical readouts, in training beside PennyLane.

One member, 1,280 atoms, 8 qubits, 3 layers, one thread, double precision unless asked otherwise; random
weights. Four comparisons:

* inference, from features to energies and to their slopes along the features. Weights are held and each
  readout is a frozen graph, as in a potential that runs in OpenMM. Beside the quantum readout: the network
  that makes today's energies (features - features - 1), a small one behind as many values as there are
  qubits (8 - 32 - 1 after the map to 8), and controls with as many parameters; "whole" readouts make
  charges and polarizabilities too;
* a model with its backbone (`tensornet`, two layers, 20 frames of 64 silicon atoms), from positions to
  energies and forces, frozen too: what a readout costs where it is used;
* the circuit alone, from 8 angles to an energy (ours with its slopes), beside PennyLane's circuit on all
  atoms at once;
* a training step on energies and slopes (loss, its gradient, backwards), beside PennyLane's backprop.

Medians, and smallest times, of calls that take turns, so that other work on the machine hits all alike;
ratios are of smallest times. Prints one JSON object.
Run: OMP_NUM_THREADS=1 python benchmarks/vqc_readout.py [--entangler cz] [--features 64] [--calls 200]
"""

import argparse
import json
import os
import statistics
import time
import warnings
from importlib.metadata import version

import torch
from ase.build import bulk
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from drupe.hardware.circuits import ENTANGLERS, expectations
from drupe.mlp.backbones.registry import NetworkSize, build
from drupe.mlp.backbones.stacked import StackedLinear
from drupe.mlp.readout import Readout
from drupe.mlp.readouts.registry import ReadoutSize, build_readout, matched
from drupe.mlp.readouts.settings import ClassicalSettings, VqcSettings
from drupe.units import angstrom

CELL = 64  # atoms
BOX = 10.862 * angstrom


class BehindAngles(nn.Module):
    """Linear to 8 values, then 8 - 32 - 1."""

    def __init__(self, features):
        super().__init__()
        self.first, self.inner, self.last = (StackedLinear(1, *n) for n in ((features, 8), (8, 32), (32, 1)))

    def forward(self, rows):
        return self.last(nn.functional.silu(self.inner(self.first(rows))))[:, :, 0]


def whole(energies, options):
    """Energies, charges and polarizabilities, added up."""
    scales = {"energy_scale": 0.01, "energy_bound": 0.1, "charge_scale": 0.1, "polarizability_scale": 5.0}
    made = Readout(options.features, missing_charge=0.0, energies=energies, **scales)
    nn.init.normal_(made.last.weight, std=0.3)
    return lambda features: sum(made(features, 1)[:3])[:, 0]


def model(readout, features):
    """Backbone and readout on cells of 64 atoms: positions ``(frames, 64, 3)`` (bohr) to energies."""
    size = NetworkSize(
        torch.zeros(CELL, dtype=torch.int64),
        1,
        features,
        2,
        8,
        5.4 * angstrom,
        1.0,
        1,
        BOX * torch.eye(3, dtype=torch.float64),
    )
    torch.manual_seed(1)
    backbone = build("tensornet", size, None)

    def energies(positions):
        nothing = torch.zeros_like(positions)
        return readout(backbone(positions, nothing, nothing[..., :0]))

    return energies


def silicon(frames):
    """Diamond with atoms displaced by 0.3 A: ``(frames, 64, 3)``, bohr."""
    crystal = bulk("Si", cubic=True) * (2, 2, 2)
    place = torch.tensor(crystal.positions) * (BOX / crystal.cell[0, 0])
    return place + 0.3 * angstrom * torch.randn(frames, CELL, 3, dtype=torch.float64)


def times_ms(calls, count):
    """Median and smallest wall time of each call, taken in turns."""
    spent = {name: [] for name in calls}
    for turn in range(count + 3):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn > 2:
                spent[name].append(1e3 * (time.perf_counter() - start))
    return {name: {"median": statistics.median(row), "least": min(row)} for name, row in spent.items()}


def frozen(energies, rows):
    """Energies and slopes as a frozen graph, as `drupe.mlp.passes` runs a potential."""

    def both(features):
        features = features.detach().requires_grad_()
        made = energies(features)
        return made.detach(), torch.autograd.grad(made.sum(), features)[0]

    with warnings.catch_warnings(), torch.inference_mode():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        with torch.inference_mode(False):
            operations = make_fx(both)(rows)
        traced = torch.jit.trace(operations, (rows,), check_trace=False)
        run = torch.jit.freeze(traced.eval())
    for _ in range(5):
        run(rows)

    def call():
        with torch.inference_mode():
            return run(rows)

    return call


def step(readout, rows, wanted, slopes):
    """One gradient of a loss on energies and slopes."""
    features = rows.detach().requires_grad_()
    energy = readout(features)
    (slope,) = torch.autograd.grad(energy.sum(), features, create_graph=True)
    loss = ((energy - wanted) ** 2).mean() + 100 * ((slope - slopes) ** 2).mean()
    return torch.autograd.grad(loss, list(readout.parameters()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entangler", choices=ENTANGLERS, default="cz")
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--atoms", type=int, default=1280)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--pennylane-calls", type=int, default=3)
    parser.add_argument("--single", action="store_true", help="single precision in training")
    parser.add_argument("--model-calls", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    settings = VqcSettings(qubits=8, layers=3, entangler=options.entangler)
    size = ReadoutSize(options.features, 1, 0.01, 0.1)
    rows = torch.randn(1, options.atoms, options.features, dtype=torch.float64)
    vqc = build_readout("vqc", size, settings)
    readouts = {
        "vqc": vqc,
        f"{options.features}-{options.features}-1": build_readout(
            "classical", size, ClassicalSettings(options.features)
        ),
        "8, 8-32-1": BehindAngles(options.features),
        "matched classical": build_readout("classical", size, matched(settings, options.features)[0]),
        "matched cosine": build_readout("cosine", size, matched(settings, options.features)[1]),
    }
    for one in readouts.values():
        for weight in one.parameters():
            nn.init.normal_(weight, std=0.3)
    calls = {**readouts, "whole, classical": whole(None, options), "whole, vqc": whole(vqc, options)}
    vqc.hold()
    inference = times_ms({name: frozen(one, rows) for name, one in calls.items()}, options.calls)
    for name in ("vqc", *[n for n in inference if n not in ("vqc", "whole, vqc")]):
        against = inference["whole, vqc" if name.startswith("whole") else "vqc"]
        inference[name]["vqc takes"] = against["least"] / inference[name]["least"]

    place = silicon(max(1, options.atoms // CELL))
    models = {
        name: frozen(model(readouts[name], options.features), place) for name in ("vqc", "matched classical")
    }
    whole_model = times_ms(models, options.model_calls)
    whole_model["vqc takes"] = whole_model["vqc"]["least"] / whole_model["matched classical"]["least"]

    angles = vqc.angles(rows).detach()
    weight, _ = (part.detach() for part in vqc.observable())
    simulate = expectations(settings.circuit)
    with torch.no_grad():
        got = vqc.series.held(vqc.held, angles)[0]
        want = (simulate(angles[0], vqc.rotations[0].detach()) * weight).sum(-1)
        circuit = times_ms({"series": lambda: vqc.series.held(vqc.held, angles)}, options.calls)
        circuit |= times_ms(
            {"PennyLane": lambda: simulate(angles[0], vqc.rotations[0])}, options.pennylane_calls
        )
    circuit["difference, hartree"] = float((got - want).abs().max())
    circuit["faster"] = circuit["PennyLane"]["least"] / circuit["series"]["least"]

    precision = torch.float32 if options.single else torch.float64
    ours = build_readout("vqc", size, settings)
    theirs = build_readout("vqc", size, VqcSettings(8, 3, options.entangler, diff_method="backprop"))
    theirs.load_state_dict(ours.state_dict())
    data = [part.to(precision) for part in (rows, torch.randn(1, options.atoms), torch.randn(rows.shape))]
    ours.to(precision), theirs.to(precision)
    training = times_ms({"series": lambda: step(ours, *data)}, max(3, options.calls // 10))
    training |= times_ms({"PennyLane": lambda: step(theirs, *data)}, options.pennylane_calls)
    training["faster"] = training["PennyLane"]["least"] / training["series"]["least"]
    print(
        json.dumps(
            {
                "atoms": options.atoms,
                "entangler": options.entangler,
                "features": options.features,
                "terms of the series": vqc.series.terms,
                "inference, ms": inference,
                "model with its backbone, ms": whole_model,
                "circuit, ms": circuit,
                "training step, ms": training,
                "precision of training": str(precision),
                "processors": os.cpu_count(),
                "load": os.getloadavg(),
                "torch": torch.__version__,
                "pennylane": version("pennylane"),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
