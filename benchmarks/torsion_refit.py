"""What a torsion refit learns from a few dozen labels: butane, GAFF against HF/STO-3G.

Labels (energies and forces, no field) are frames of one MM run at 600 K, further ones of another run are
held out. The profile is that of the C-C-C-C torsion, counted from trans: MM is minimised with the torsion
held, and the quantum energy is computed at these geometries. Prints one JSON object; kcal/mol, kcal/mol/A.
Run: OMP_NUM_THREADS=1 python benchmarks/torsion_refit.py [labels]
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


def labelled(frames: np.ndarray, charges: np.ndarray) -> list[Frame]:
    """Labels without surroundings."""
    made = []
    for at in frames:
        energy, forces = quantum(at, True)
        made.append(Frame("HF/STO-3G", NUMBERS, at, energy, forces, charges, np.zeros((0, 3)), np.zeros(0)))
    return made


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


def main(count: int) -> None:
    begun = time.process_time()
    plain = system()
    terms = LigandForceField.from_system(plain, range(len(NUMBERS)))
    train, held = sampled(count, 1), sampled(HELD, 2)
    labels = labelled(train, terms.charges)
    label_seconds = time.process_time() - begun
    exact = np.array([quantum(at, False)[0] for at in held])
    geometries, mm_profile = scanned(plain)
    profile = np.array([quantum(at, False)[0] for at in geometries]) / kcal_per_mol
    profile -= profile[-1]
    report = {"labels": count, "label_cpu_s": round(label_seconds, 1), "angles": ANGLES.tolist()}
    report["profile_quantum"] = profile.round(3).tolist()
    report["profile_mm"] = (mm_profile - mm_profile[-1]).round(3).tolist()
    report["mm"] = {
        "profile_rms": _rms(mm_profile - mm_profile[-1] - profile),
        "profile_worst": float(np.abs(mm_profile - mm_profile[-1] - profile).max()),
        "held_out_energy_sd": float(np.std(exact - _energies(plain, held)) / kcal_per_mol),
    }
    report["refit"] = []
    for n in sorted({max(count // 4, 2), count // 2, count}):
        for highest in (3, 6):
            first = time.process_time()
            fit = refit_torsions([(Dataset.from_labels(labels[:n]), terms)], TorsionSpec(highest=highest))
            seconds = time.process_time() - first
            new = refitted_system(plain, range(len(NUMBERS)), NUMBERS, fit)
            _, relaxed = scanned(new)
            change = fit.design(NUMBERS, BOND_TABLE, geometries).energy
            change = change - change[-1]
            rigid = mm_profile - mm_profile[-1] + change @ fit.change.ravel() / kcal_per_mol
            sigma = np.sqrt(np.einsum("fp,pq,fq->f", change, fit.covariance, change)) / kcal_per_mol
            left = (exact - _energies(new, held)) / kcal_per_mol
            at_held = fit.predict(NUMBERS, BOND_TABLE, held)
            spread = np.hypot(at_held.sigma, fit.noise_energy) / kcal_per_mol
            force = kcal_per_mol / angstrom
            report["refit"].append(
                {
                    "labels": n,
                    "highest": highest,
                    "fit_cpu_s": round(seconds, 2),
                    "profile": (relaxed - relaxed[-1]).round(3).tolist(),
                    "profile_rms": _rms(rigid - profile),
                    "profile_worst": float(np.abs(rigid - profile).max()),
                    "profile_rms_relaxed": _rms(relaxed - relaxed[-1] - profile),
                    "profile_sigma": float(sigma[:-1].mean()),
                    "profile_chi": float(np.sqrt(np.mean(((rigid - profile)[:-1] / sigma[:-1]) ** 2))),
                    "held_out_energy_sd": float(np.std(left)),
                    "held_out_inside_95": float(np.mean(np.abs(left - left.mean()) < 1.96 * spread)),
                    "noise_energy": fit.noise_energy / kcal_per_mol,
                    "noise_turn": fit.noise_turn / force,
                    "noise_force": fit.noise_force / force,
                    "kinds": fit.kinds,
                    "constants": (fit.constants / kcal_per_mol).round(3).tolist(),
                    "errors": (fit.errors / kcal_per_mol).round(3).tolist(),
                }
            )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
