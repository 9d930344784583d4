"""What transfer gains over training from scratch: methanol, PBE to CCSD(T) in its OH group, few energies.

Every frame is labelled once: PBE energy and forces, and the energy with the quantum core. The low level is
learned from energies and forces of all frames but the held-out ones; the high level from the core-corrected
energies of a few of the same frames. Compared on frames that nothing saw: the same network from its first
weights on core-corrected energies alone, with twice the steps of a transfer; a transfer of all weights
(L2-SP) for each pull of the forces; and one with low-rank adapters. Errors are standard deviations of energy
errors over frames: a constant cancels. Frames are displacements of every atom by 0.05 angstrom, without
surroundings. Prints one JSON object, with the learning curves; a transfer that its guard refuses counts as
refused.
Run: OMP_NUM_THREADS=1 python benchmarks/transfer_gain.py [--basis 6-31G] [--steps 300] [--members 2]
"""

import json
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import click
import numpy as np
import torch
from methanol import force_field, methanol
from openmm import app
from torch import Tensor

from drupe.embedding import Label, Level, MolecularSystem, Partition, label
from drupe.errors import ConvergenceError
from drupe.mlp import Committee, Dataset, FitSpec, TransferSpec, accuracy
from drupe.mlp.descent import Judged, Plan, descend, frames_of_step
from drupe.mlp.loss import NO_ERRORS, predict_frames
from drupe.mlp.potential import Potential
from drupe.mlp.training import train_member
from drupe.mlp.training_set import prepare
from drupe.mlp.transfer import transfer_member
from drupe.units import angstrom, kcal_per_mol

CORE = (1, 5)  # oxygen and its hydrogen
OCCUPIED = 5  # of the core, in every frame: those at oxygen, behind the widest gap


def frame(seed: int, basis: str) -> Label:
    """One frame at both levels."""
    torch.set_num_threads(1)
    topology, start = methanol()
    system = app.ForceField(force_field()).createSystem(topology, constraints=None, removeCMMotion=False)
    molecule = MolecularSystem.from_openmm(topology, system, start)
    region = Partition.select(molecule, qm=range(6), cores=[CORE], charge=0)
    level = Level("PBE", basis, core="CCSD(T)", virtual_shells=None, n_occupied=(OCCUPIED,))
    shift = 0.05 * np.random.default_rng([4, seed]).normal(size=(6, 3)) * angstrom
    return label(molecule.with_positions(molecule.positions + shift), region, level)


def from_scratch(start: Potential, high: Dataset, spec: FitSpec, member: int) -> Committee:
    """Fit first weights to energies alone, with the optimiser of `train`."""
    header = start.header
    fresh = Potential(header, seed=100 + member)
    data = prepare(high, header.baseline, header.damping, header.reach)
    zero = float(data.energy.mean())
    scale = float((data.energy - zero).std())
    averaged = Potential(header)

    def loss(step: int) -> Tensor:
        batch = data.take(frames_of_step(step, spec.batch, data.n_frames, (spec.seed, member)))
        made = predict_frames(fresh, batch, graph=True)
        return (((made.energy + zero - batch.energy) / scale) ** 2).mean()

    def judge(weights: Mapping[str, Tensor]) -> Judged:
        return Judged(0.0, NO_ERRORS, NO_ERRORS)

    weights = dict(fresh.named_parameters())
    plan = Plan(spec.steps, spec.learning_rate, spec.weight_decay, spec.average, None, None)
    found = descend(weights, lambda: weights, loss, judge, plan)
    averaged.load_state_dict(found.weights)
    return Committee((averaged.stored(),))


@click.command()
@click.option("--basis", default="6-31G", show_default=True)
@click.option("--low", "n_low", default=100, show_default=True, help="Low-level labels with forces.")
@click.option("--held-out", default=50, show_default=True)
@click.option("--steps", default=300, show_default=True, help="Of each fit.")
@click.option("--rate", default=1e-3, show_default=True, help="Peak learning rate of the transfer.")
@click.option("--members", default=2, show_default=True, help="Seeds of each point.")
@click.option("--sizes", default="7,20,50", show_default=True)
@click.option("--pulls", default="5,0.5,0.05", show_default=True, help="Values of force_pull.")
@click.option("--drift", default=0.005, show_default=True, help="max_force_drift, hartree/bohr.")
@click.option("--rank", default=4, show_default=True)
@click.option("--workers", default=2, show_default=True, help="Labels at a time.")
def main(
    basis: str,
    n_low: int,
    held_out: int,
    steps: int,
    rate: float,
    members: int,
    sizes: str,
    pulls: str,
    drift: float,
    rank: int,
    workers: int,
) -> None:
    """Measure."""
    torch.set_num_threads(1)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        made = list(pool.map(partial(frame, basis=basis), range(n_low + held_out)))
    low = Dataset.from_labels(made[:n_low], which="low", blocks=[i // 10 for i in range(n_low)])
    unseen = Dataset.from_labels(made[n_low:])
    correction = (unseen.energy - unseen.energy_low).std() / kcal_per_mol
    spec = FitSpec(members=members, seed=1, steps=2 * steps, features=16, batch=8, learning_rate=8e-3)
    starts = [train_member(low, spec, member).potential for member in range(members)]
    ways = {f"pull {text}": {"force_pull": float(text)} for text in pulls.split(",")}
    weakest = min(changes["force_pull"] for changes in ways.values())
    ways[f"pull {weakest:g}, rank {rank}"] = {"force_pull": weakest, "rank": rank}
    points: list[dict[str, object]] = []
    for size in (int(text) for text in sizes.split(",")):
        high = Dataset.from_labels(made[:size])
        errors: dict[str, list[float | None]] = {name: [] for name in ("scratch", *ways)}
        drifts: dict[str, list[float | str]] = {name: [] for name in ways}
        curves: dict[str, list[list[float]]] = {}
        for member, start in enumerate(starts):
            alone = from_scratch(start, high, spec, member)
            errors["scratch"].append(accuracy(alone, unseen).energy_spread / kcal_per_mol)
            for name, changes in ways.items():
                how = TransferSpec(steps=steps, learning_rate=rate, max_force_drift=drift, **changes)
                try:
                    fit = transfer_member(start, high, low, how, member)
                except ConvergenceError as refused:
                    errors[name].append(None)
                    drifts[name].append(str(refused))
                    continue
                errors[name].append(accuracy(Committee((fit.stored,)), unseen).energy_spread / kcal_per_mol)
                drifts[name].append(fit.force_drift)
                if member == 0:
                    curves[name] = [
                        fit.curve.step[::10].tolist(),
                        (fit.curve.energy[::10] / kcal_per_mol).tolist(),
                    ]
        points.append({"energies": size, "errors_kcal": errors, "drift": drifts, "curves_member_0": curves})
    untouched = [
        accuracy(Committee((start.stored(),)), unseen).energy_spread / kcal_per_mol for start in starts
    ]
    print(
        json.dumps({"correction_kcal": correction, "low_model_kcal": untouched, "points": points}, indent=1)
    )


if __name__ == "__main__":
    main()
