"""Energy conservation on exact core-corrected forces: water dimer, one water CCSD(T)-in-PBE/STO-3G.

Relaxes the dimer, draws velocities (seeded) and runs velocity Verlet with 0.5 fs. The drift is the
slope of a straight line through the total energy times the length of the run; beside it stands the same
for DFT forces on core-corrected energies, which is what an inconsistent force does. Prints one JSON object.
Run: OMP_NUM_THREADS=1 python benchmarks/nve_drift.py [steps] [kelvin]
"""

import json
import sys
import time
from dataclasses import replace

import numpy as np
from scipy.constants import physical_constants
from scipy.optimize import minimize

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.units import angstrom

WATERS = [
    (8, -1.551, -0.115, 0.0),
    (1, -1.934, 0.763, 0.0),
    (1, -0.600, 0.041, 0.0),
    (8, 1.351, 0.111, 0.0),
    (1, 1.680, -0.374, -0.759),
    (1, 1.680, -0.374, 0.759),
]
LEVEL = Level(
    "PBE",
    "sto-3g",
    core="CCSD(T)",
    virtual_shells=None,
    n_occupied=(5,),
    grid=1,
    forces="exact",
    gradient_tolerance=1e-6,
    cc_tolerance=1e-9,
)
FEMTOSECOND = 1e-15 / physical_constants["atomic unit of time"][0]
KELVIN = physical_constants["kelvin-hartree relationship"][0]
AMU = physical_constants["unified atomic mass unit"][0] / physical_constants["atomic unit of mass"][0]
MASSES = AMU * np.array([{8: 15.999, 1: 1.008}[row[0]] for row in WATERS])[:, None]


class Surface:
    """Energy and forces of positions; each SCF starts from the one before."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.system = MolecularSystem.from_atoms(
            [row[0] for row in WATERS], angstrom * np.array([row[1:] for row in WATERS])
        )
        self.regions = Partition.select(self.system, qm=range(6), charge=0, cores=[[0, 1, 2]])
        self.start = None

    def __call__(self, positions):
        found = label(
            self.system.with_positions(positions),
            self.regions,
            self.level,
            density=self.start,
            on_restart=lambda start: setattr(self, "start", start),
        )
        return found.energy, found.forces_qm


def run(surface: Surface, positions, velocities, steps: int):
    """Velocity Verlet; total energy after each step, hartree."""
    step = 0.5 * FEMTOSECOND
    energy, forces = surface(positions)
    totals = [energy + 0.5 * float((MASSES * velocities**2).sum())]
    for _ in range(steps):
        velocities = velocities + 0.5 * step * forces / MASSES
        positions = positions + step * velocities
        energy, forces = surface(positions)
        velocities = velocities + 0.5 * step * forces / MASSES
        totals.append(energy + 0.5 * float((MASSES * velocities**2).sum()))
    return np.array(totals)


def drift(totals) -> float:
    return float(np.polyfit(np.linspace(0, 1, len(totals)), totals, 1)[0])


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    kelvin = float(sys.argv[2]) if len(sys.argv) > 2 else 100.0
    surface = Surface(LEVEL)

    def flat(values):
        energy, forces = surface(values.reshape(-1, 3))
        return energy, -forces.ravel()

    relaxed = minimize(
        flat, surface.system.positions.ravel(), jac=True, options={"maxiter": 40, "gtol": 1e-3}
    )
    positions = relaxed.x.reshape(-1, 3)
    velocities = np.random.default_rng(1).normal(size=positions.shape) * np.sqrt(kelvin * KELVIN / MASSES)
    velocities -= (MASSES * velocities).sum(axis=0) / MASSES.sum()
    started = time.perf_counter()
    exact = run(surface, positions, velocities, steps)
    seconds = (time.perf_counter() - started) / (steps + 1)
    low = run(Surface(replace(LEVEL, forces="low")), positions, velocities, min(steps, 100))
    report = {
        "steps": steps,
        "kelvin": kelvin,
        "drift_hartree": drift(exact),
        "fluctuation_hartree": float(exact.std()),
        "largest_deviation_hartree": float(abs(exact - exact[0]).max()),
        "same_with_dft_forces": {
            "steps": len(low) - 1,
            "drift_hartree": drift(low),
            "fluctuation_hartree": float(low.std()),
        },
        "seconds_per_step": seconds,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
