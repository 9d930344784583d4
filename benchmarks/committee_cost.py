"""What a committee of four costs: 400 labels of p-xylene (18 atoms) among 60 charges, two processes.

Labels are cheap and noise-free: the molecule's own force field with other bond lengths and force constants,
charges that differ from the fixed ones and polarizabilities in the field of a cloud of charges. Frames are of
dynamics at 300 K, 0.1 ps apart, in blocks of 20. Also measured: a step of one stacked network with four
members against four steps of single ones, and errors on 100 frames of later blocks.
Prints one JSON object; times are processor seconds unless they say wall.
Run: OMP_NUM_THREADS=1 python benchmarks/committee_cost.py [--labels 400] [--steps 1500] [--workers 2]
"""

import dataclasses
import json
import resource
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import openmm
import openmmtools
import torch
from openmm import app, unit

from drupe.mlp import Dataset, FitFolder, FitSpec, accuracy, train
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.baseline_energy import BaselineEnergy
from drupe.mlp.coverage import reliability
from drupe.mlp.electrostatics import field_at
from drupe.mlp.loss import LossWeights, loss_of, scales_of
from drupe.mlp.potential import Potential
from drupe.mlp.sources import Frame
from drupe.mlp.training_set import prepare
from drupe.units import angstrom, kcal_per_mol, nanometer

FOLDER = Path(openmmtools.__file__).parent / "data" / "T4-lysozyme-L99A-implicit"
FORCE = kcal_per_mol / angstrom


def sample(count: int) -> tuple[np.ndarray, LigandForceField, np.ndarray]:
    """Atomic numbers, force field and frames in bohr."""
    prmtop = app.AmberPrmtopFile(str(FOLDER / "ligand.prmtop"))
    start = app.AmberInpcrdFile(str(FOLDER / "ligand-minimized.crd")).positions
    system = prmtop.createSystem(removeCMMotion=False)
    numbers = np.array([atom.element.atomic_number for atom in prmtop.topology.atoms()])
    integrator = openmm.LangevinMiddleIntegrator(300, 5 / unit.picosecond, 0.0005)
    integrator.setRandomNumberSeed(3)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(start)
    context.setVelocitiesToTemperature(300, 3)
    integrator.step(2000)
    frames = []
    for _ in range(count):
        integrator.step(200)
        place = context.getState(getPositions=True).getPositions(asNumpy=True)
        frames.append(np.array(place.value_in_unit(unit.nanometer)) * nanometer)
    return numbers, LigandForceField.from_system(system, range(len(numbers))), np.array(frames)


def label(numbers: np.ndarray, plain: LigandForceField, qm: np.ndarray, seed: int) -> Frame:
    """Energy and forces of the formula."""
    rng = np.random.default_rng([11, seed])
    spots: list[np.ndarray] = []
    while len(spots) < 60:
        spot = qm.mean(0) + rng.uniform(-9, 9, 3) * angstrom
        if np.linalg.norm(qm - spot, axis=1).min() > 2.4 * angstrom:
            spots.append(spot)
    charges = 0.3 * rng.normal(size=60)
    charges -= charges.mean()
    inner = BaselineEnergy(
        dataclasses.replace(plain, bonds=plain.bonds * [1.008, 0.95], angles=plain.angles * [1.0, 0.93])
    )
    fixed = torch.tensor(plain.charges)
    at = torch.tensor(qm, requires_grad=True)
    around = torch.tensor(np.array(spots), requires_grad=True)
    bare, damped = (field_at(at, around, torch.tensor(charges), width) for width in (0.0, 1.5))
    polarizability = torch.tensor(np.where(numbers == 6, 5.0, 1.5))
    energy = inner(at[None])[0] - 300.0 + fixed @ bare.potential
    energy = energy + 0.4 * (fixed - fixed.mean()) @ damped.potential
    energy = energy - (polarizability * (damped.field**2).sum(-1)).sum() / 2
    to_qm, to_mm = torch.autograd.grad(energy, (at, around))
    return Frame(
        level="formula",
        qm_numbers=numbers,
        qm_positions=qm,
        energy=float(energy.detach()),
        forces_qm=-to_qm.numpy(),
        qm_fixed_charges=plain.charges,
        mm_positions=np.array(spots),
        mm_charges=charges,
        forces_mm=-to_mm.numpy(),
    )


def step_seconds(committee, data: Dataset, baseline: LigandForceField, batch: int) -> dict[str, float]:
    """Processor seconds of a loss and its gradient: four single networks, and one stack on one batch."""
    prepared = prepare(data.take(range(batch)), baseline, committee.header.damping, committee.header.reach)
    zero = committee.header.energy_zero
    scales, weights = scales_of(prepared, zero), LossWeights(0.3, 1.0, 0.3, 1e-3, 1e-3)
    single = [Potential.from_stored(one) for one in committee.members]
    found = {}
    for name, networks in (("four_single", single), ("one_stack", [committee.stack])):
        rounds = []
        for _ in range(8):
            start = time.process_time()
            for network in networks:
                if network.members == 1:
                    loss = loss_of(network, prepared, scales, weights, zero)
                else:
                    loss = stacked_loss(network, prepared, scales, zero)
                loss.backward()
            rounds.append(time.process_time() - start)
        found[name] = min(rounds)
    return found


def stacked_loss(stack: Potential, data, scales, zero: float) -> torch.Tensor:
    """Energy and force terms of all members at once: what a stacked fit would have to compute at least."""
    members, place = stack.members, data.positions.detach().requires_grad_()
    energies, _ = stack.learned(place, data.potential, data.field, data.sums)
    pick = torch.eye(members, dtype=energies.dtype)[:, :, None].expand(-1, -1, data.n_frames)
    (forces,) = torch.autograd.grad(energies, place, pick, create_graph=True, is_grads_batched=True)
    energy = ((energies + zero - data.energy) ** 2).mean() / scales.energy**2
    return energy + ((forces + data.forces) ** 2).mean() / scales.force**2


@click.command()
@click.option("--labels", default=400, show_default=True)
@click.option("--steps", default=1500, show_default=True)
@click.option("--members", default=4, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where fits are kept.")
def main(labels: int, steps: int, members: int, workers: int, folder: Path | None) -> None:
    """Train and measure."""
    torch.set_num_threads(1)
    numbers, plain, frames = sample(labels + 200)
    made = [label(numbers, plain, qm, i) for i, qm in enumerate(frames)]
    # Energies of a force field: their zero is its own.
    data = Dataset.from_labels(made[:labels], blocks=[i // 20 for i in range(labels)], energies="relative")
    held = Dataset.from_labels(made[labels : labels + 100], energies="relative")
    test = Dataset.from_labels(made[labels + 100 :], energies="relative")
    spec = FitSpec(members=members, seed=1, steps=steps)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    own = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        committee = train(data, spec, plain, workers=workers, folder=FitFolder(folder or Path(scratch)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = {
        "labels": labels,
        "members": members,
        "steps": steps,
        "fit_cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "own_cpu": time.process_time() - own,
        "wall": time.time() - start,
        "step_cpu": step_seconds(committee, data, plain, spec.batch),
    }
    checked = accuracy(committee, test)
    report["energy_kcal"] = checked.energy_spread / kcal_per_mol
    report["force_kcal_per_A"] = checked.force / FORCE
    for name, one in (("from_members", committee), ("from_unseen", committee.calibrated(held))):
        for quantity, found in zip(("energy", "forces_qm", "forces_mm"), reliability(one, test), strict=True):
            report[f"{name}_{quantity}"] = {
                "inside_95": found.inside,
                "allowed": found.allowed,
                "half_width_over_rmse": found.half_width / found.rmse,
                "area": found.area,
            }
    for errors in (False, True):
        start_cpu = time.process_time()
        committee.predict_all(test, force_errors=errors)
        report[f"predict_ms_{'with' if errors else 'without'}_force_errors"] = (
            (time.process_time() - start_cpu) / test.n_frames * 1e3
        )
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
