"""What a torsion refit learns from a few dozen labels: butane, GAFF against HF/STO-3G.

Labels (energies and forces, no field) are frames of one MM run at 600 K, further ones of another run are
held out. The profile is that of the C-C-C-C torsion, counted from trans: MM is minimised with the torsion
held, and the quantum energy is computed at GAFF's geometries. The same for a force field that lacks the
torsions about that bond. Prints one JSON object; kcal/mol, kcal/mol/A. A file keeps the quantum numbers for a
next run.
Run: OMP_NUM_THREADS=1 python benchmarks/torsion_refit.py [labels] [file.npz]
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import openmm
from openmm import unit
from pyscf import gto, scf

sys.path.insert(0, str(Path(__file__).resolve().parent))

from butane import BONDS, DIHEDRAL, NUMBERS, start, system

from drupe.mlp import Dataset
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.sources import Frame
from drupe.mlp.torsion_refit import TorsionSpec
from drupe.mlp.torsion_system import refitted_system
from drupe.mlp.torsions import refit_torsions
from drupe.units import angstrom, kcal_per_mol, kj_per_mol, nanometer

HELD = 16
ANGLES = np.arange(0, 181, 15)
BOND_TABLE = np.array(BONDS)


def sampled(count: int, seed: int) -> np.ndarray:
    """Frames 2 ps apart at 600 K, bohr."""
    integrator = openmm.LangevinMiddleIntegrator(600, 5 / unit.picosecond, 0.0005)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system(), integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(start())
    openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(600, seed)
    frames = []
    for _ in range(count):
        integrator.step(4000)
        frames.append(_positions(context))
    return np.array(frames)


def scanned(mm: openmm.System) -> tuple[np.ndarray, np.ndarray]:
    """Geometries (bohr) and energies (kcal/mol) minimised at each angle."""
    held = openmm.XmlSerializer.clone(mm)
    hold = openmm.CustomTorsionForce("k/2*min(d, 6.283185307179586-d)^2; d=abs(theta-target)")
    hold.addGlobalParameter("target", 0.0)
    hold.addGlobalParameter("k", 1e5)
    hold.addTorsion(*DIHEDRAL, [])
    hold.setForceGroup(5)
    held.addForce(hold)
    context = openmm.Context(
        held, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(start())
    geometries, energies = [], []
    for angle in ANGLES[::-1]:  # from trans; steps of 15 degrees keep the methyl groups staggered
        context.setParameter("target", float(np.radians(angle)))
        openmm.LocalEnergyMinimizer.minimize(context, 0.01)
        geometries.append(_positions(context))
        state = context.getState(energy=True, groups=set(range(32)) - {5})
        energies.append(state.getPotentialEnergy().value_in_unit(unit.kilocalorie_per_mole))
    return np.array(geometries)[::-1], np.array(energies)[::-1]


def quantum(at: np.ndarray, forces: bool) -> tuple[float, np.ndarray | None]:
    """HF/STO-3G energy (hartree) and forces (hartree/bohr)."""
    mol = gto.M(atom=list(zip(NUMBERS.tolist(), at.tolist(), strict=True)), unit="bohr", basis="sto-3g")
    mean_field = scf.RHF(mol).run(verbose=0, conv_tol=1e-10)
    if not mean_field.converged:
        raise RuntimeError("the SCF did not converge")
    return mean_field.e_tot, -mean_field.nuc_grad_method().kernel() if forces else None


def quantum_data(count: int, kept: Path | None) -> dict[str, np.ndarray]:
    """All quantum numbers that are needed, from ``kept`` where they are there."""
    if kept is not None and kept.exists():
        with np.load(kept) as stored:
            return dict(stored)
    begun = time.process_time()
    train, held = sampled(count, 1), sampled(HELD, 2)
    labels = [quantum(at, True) for at in train]
    seconds = time.process_time() - begun
    scan, _ = scanned(system())
    data = {
        "train": train,
        "energies": np.array([energy for energy, _ in labels]),
        "forces": np.array([forces for _, forces in labels]),
        "seconds": np.array(seconds),
        "held": held,
        "held_energies": np.array([quantum(at, False)[0] for at in held]),
        "scan": scan,
        "scan_energies": np.array([quantum(at, False)[0] for at in scan]),
    }
    if kept is not None:
        np.savez(kept, **data)
    return data


def _positions(context: openmm.Context) -> np.ndarray:
    place = context.getState(positions=True).getPositions(asNumpy=True)
    return np.array(place.value_in_unit(unit.nanometer)) * nanometer


def _energies(mm: openmm.System, frames: np.ndarray) -> np.ndarray:
    context = openmm.Context(
        mm, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    found = []
    for at in frames:
        context.setPositions(at / nanometer)
        state = context.getState(energy=True)
        found.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * kj_per_mol)
    return np.array(found)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def without_torsions() -> openmm.System:
    """GAFF without torsions about the central bond: a force field that has this profile wrong."""
    made = system()
    force = next(f for f in made.getForces() if isinstance(f, openmm.PeriodicTorsionForce))
    for k in range(force.getNumTorsions()):
        i, j, m, n, period, phase, _ = force.getTorsionParameters(k)
        if {j, m} == set(DIHEDRAL[1:3]):
            force.setTorsionParameters(k, i, j, m, n, period, phase, 0.0)
    return made


def errors_of(mm: openmm.System, data: dict[str, np.ndarray]) -> dict[str, float]:
    """Errors of a force field: its own relaxed profile, and energies of held-out frames."""
    _, profile = scanned(mm)
    quantum_profile = data["scan_energies"] / kcal_per_mol
    off = profile - profile[-1] - quantum_profile + quantum_profile[-1]
    left = (data["held_energies"] - _energies(mm, data["held"])) / kcal_per_mol
    return {
        "profile_rms": float(np.sqrt(np.mean(off[:-1] ** 2))),
        "profile_worst": float(np.abs(off).max()),
        "held_out_energy_sd": float(np.std(left)),
    }


def refitted(
    mm: openmm.System, data: dict[str, np.ndarray], count: int, spec: TorsionSpec
) -> dict[str, object]:
    """A refit to the first ``count`` labels, its errors, and whether its posterior knows them."""
    terms = LigandForceField.from_system(mm, range(len(NUMBERS)))
    rows = zip(data["train"][:count], data["energies"], data["forces"], strict=False)
    nothing = np.zeros((0, 3)), np.zeros(0)
    labels = [Frame("HF/STO-3G", NUMBERS, at, float(e), f, terms.charges, *nothing) for at, e, f in rows]
    fit = refit_torsions([(Dataset.from_labels(labels), terms)], spec)
    new = refitted_system(mm, range(len(NUMBERS)), NUMBERS, fit)
    change = fit.design(NUMBERS, np.array(BONDS), data["scan"]).energy
    change = change - change[-1]
    sigma = np.sqrt(np.einsum("fp,pq,fq->f", change, fit.covariance, change))[:-1]
    quantum_profile = data["scan_energies"] - data["scan_energies"][-1]
    plain = _energies(mm, data["scan"])
    off = (plain - plain[-1] + change @ fit.change.ravel() - quantum_profile)[:-1]
    held = fit.predict(NUMBERS, np.array(BONDS), data["held"])
    left = data["held_energies"] - _energies(new, data["held"])
    inside = np.abs(left - left.mean()) < 1.96 * np.hypot(held.sigma, fit.noise_energy)
    force = kcal_per_mol / angstrom
    return {
        "labels": count,
        "width": spec.width / kcal_per_mol,
        **errors_of(new, data),
        "posterior_sigma_of_profile": float(np.sqrt(np.mean(sigma**2)) / kcal_per_mol),
        "profile_error_over_sigma": float(np.sqrt(np.mean((off / sigma) ** 2))),
        "held_out_inside_95": float(inside.mean()),
        "noise_energy": fit.noise_energy / kcal_per_mol,
        "noise_turn": fit.noise_turn / force,
        "noise_force": fit.noise_force / force,
        "constants": dict(zip(fit.kinds, (fit.constants / kcal_per_mol).round(3).tolist(), strict=True)),
        "errors": dict(zip(fit.kinds, (fit.errors / kcal_per_mol).round(3).tolist(), strict=True)),
    }


def main(count: int, kept: Path | None) -> None:
    data = quantum_data(count, kept)
    report: dict[str, object] = {"labels": count, "label_cpu_s": round(float(data["seconds"]), 1)}
    for name, mm in (("gaff", system()), ("gaff without these torsions", without_torsions())):
        report[name] = {
            "before": errors_of(mm, data),
            "after": [
                refitted(mm, data, n, TorsionSpec(highest=3, width=width * kcal_per_mol))
                for n in (count // 4, count // 2, count)
                for width in (1.0, 0.25)
            ],
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 32,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
