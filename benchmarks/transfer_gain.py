"""What transfer gains over training from scratch: methanol, HF to MP2, from 7, 20 and 50 high-level energies.

Low level: RHF energies and forces. High level: MP2 energies on a few of the same frames. Compared on frames
that nothing saw, at equal steps: the same network from its first weights on MP2 energies alone, a transfer
of all weights (L2-SP), and transfers with low-rank adapters. Errors are standard deviations of energy errors
over frames: a constant cancels. Frames are displacements of every atom by 0.05 angstrom.
Prints one JSON object, with the learning curves.
Run: OMP_NUM_THREADS=1 python benchmarks/transfer_gain.py [--basis sto-3g] [--steps 300] [--members 2]
"""

import json
from collections.abc import Mapping

import click
import numpy as np
import torch
from pyscf import gto, mp, scf
from torch import Tensor

from drupe.mlp import Committee, Dataset, FitSpec, TransferSpec, accuracy
from drupe.mlp.descent import Judged, Plan, descend, frames_of_step
from drupe.mlp.loss import NO_ERRORS, predict_frames
from drupe.mlp.potential import Potential
from drupe.mlp.sources import Frame
from drupe.mlp.training import train_member
from drupe.mlp.training_set import prepare
from drupe.mlp.transfer import transfer_member
from drupe.units import angstrom, kcal_per_mol

METHANOL = np.array(
    [
        [-0.0468, 0.6606, 0.0],
        [-0.0468, -0.7560, 0.0],
        [-1.0864, 0.9762, 0.0],
        [0.4385, 1.0720, 0.8886],
        [0.4385, 1.0720, -0.8886],
        [0.8629, -1.0562, 0.0],
    ]
)
NUMBERS = np.array([6, 8, 1, 1, 1, 1])


def labels(seed: int, basis: str) -> tuple[Frame, Frame]:
    """One frame at both levels."""
    place = (METHANOL + 0.05 * np.random.default_rng([4, seed]).normal(size=METHANOL.shape)) * angstrom
    atoms = [(int(z), tuple(x)) for z, x in zip(NUMBERS, place, strict=True)]
    molecule = gto.M(atom=atoms, unit="bohr", basis=basis, verbose=0)
    low = scf.RHF(molecule).run(conv_tol=1e-10)
    high = mp.MP2(low).run()
    if not low.converged:
        raise SystemExit(f"frame {seed} did not converge")
    common = {
        "qm_numbers": NUMBERS,
        "qm_positions": place,
        "qm_fixed_charges": np.zeros(6),
        "mm_positions": np.zeros((0, 3)),
        "mm_charges": np.zeros(0),
        "energy_low": float(low.e_tot),
    }
    forces = -low.nuc_grad_method().kernel()
    return (
        Frame(level=f"HF/{basis}", energy=float(low.e_tot), forces_qm=forces, **common),
        Frame(level=f"MP2/{basis}", energy=float(high.e_tot), forces_qm=None, **common),
    )


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
@click.option("--basis", default="sto-3g", show_default=True)
@click.option("--low", "n_low", default=100, show_default=True, help="Low-level labels with forces.")
@click.option("--held-out", default=50, show_default=True)
@click.option("--steps", default=300, show_default=True, help="Of each fit.")
@click.option("--rate", default=1e-3, show_default=True, help="Peak learning rate of the transfer.")
@click.option("--members", default=2, show_default=True, help="Seeds of each point.")
@click.option("--sizes", default="7,20,50", show_default=True)
@click.option("--ranks", default="2,6", show_default=True)
def main(
    basis: str, n_low: int, held_out: int, steps: int, rate: float, members: int, sizes: str, ranks: str
) -> None:
    """Measure."""
    torch.set_num_threads(1)
    pairs = [labels(seed, basis) for seed in range(n_low + held_out)]
    low = Dataset.from_labels([pair[0] for pair in pairs[:n_low]], blocks=[i // 10 for i in range(n_low)])
    unseen = Dataset.from_labels([pair[1] for pair in pairs[n_low:]])
    correction = (unseen.energy - unseen.energy_low).std() / kcal_per_mol
    spec = FitSpec(members=members, seed=1, steps=2 * steps, features=16, batch=8, learning_rate=8e-3)
    starts = [train_member(low, spec, member).potential for member in range(members)]
    points: list[dict[str, object]] = []
    for size in (int(text) for text in sizes.split(",")):
        high = Dataset.from_labels([pair[1] for pair in pairs[:size]])
        ways: dict[str, int | None] = {"l2sp": None} | {f"rank{r}": int(r) for r in ranks.split(",")}
        errors: dict[str, list[float]] = {name: [] for name in ("scratch", *ways)}
        curves: dict[str, list[list[float]]] = {}
        for member, start in enumerate(starts):
            alone = from_scratch(start, high, spec, member)
            errors["scratch"].append(accuracy(alone, unseen).energy_spread / kcal_per_mol)
            for name, rank in ways.items():
                how = TransferSpec(
                    steps=steps, learning_rate=rate, rank=rank, force_pull=0.05, max_force_drift=0.05
                )
                fit = transfer_member(start, high, low, how, member)
                errors[name].append(accuracy(Committee((fit.stored,)), unseen).energy_spread / kcal_per_mol)
                if member == 0:
                    curves[name] = [
                        fit.curve.step[::10].tolist(),
                        (fit.curve.energy[::10] / kcal_per_mol).tolist(),
                    ]
        points.append({"energies": size, "errors_kcal": errors, "curves_member_0": curves})
    untouched = [
        accuracy(Committee((start.stored(),)), unseen).energy_spread / kcal_per_mol for start in starts
    ]
    print(
        json.dumps({"correction_kcal": correction, "low_model_kcal": untouched, "points": points}, indent=1)
    )


if __name__ == "__main__":
    main()
