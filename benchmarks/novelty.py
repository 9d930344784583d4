"""Share of frames that lie outside of the training set: p-xylene without surroundings, 300 K and 800 K.

MM dynamics (the force field of openmmtools' T4 lysozyme example) in runs of 50 ps, a frame every 0.5 ps. Two
networks are trained on forty HF/STO-3G labels of a run of their own, beside the MM terms. Each draw then
takes 20, 40 or 100 frames of the runs at 300 K for the record, and counts how many of the others of these
runs, and of the run at 800 K, are outside. Prints one JSON object: mean and standard deviation over draws.
Run: OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python benchmarks/novelty.py
"""

import json
import resource
from pathlib import Path

import click
import numpy as np
import openmm
import openmmtools
from numpy.typing import NDArray
from openmm import app, unit

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.mlp import Committee, Dataset, FitSpec, train
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.sources import frames_of_arrays
from drupe.units import nanometer

FOLDER = Path(openmmtools.__file__).parent / "data" / "T4-lysozyme-L99A-implicit"
SIZES, FRAMES, LABELS = (20, 40, 100), 100, 40
NOTHING = np.zeros((0, 3)), np.zeros(0)
SPEC = FitSpec(members=2, seed=1, steps=250, features=16, batch=10)

Matrix = NDArray[np.float64]


class Molecule:
    """p-Xylene: its MM system and the minimised start, bohr."""

    def __init__(self) -> None:
        prmtop = app.AmberPrmtopFile(str(FOLDER / "ligand.prmtop"))
        start = app.AmberInpcrdFile(str(FOLDER / "ligand-minimized.crd")).positions
        self.system = prmtop.createSystem(removeCMMotion=False)
        self.start = np.array(start.value_in_unit(unit.nanometer))
        self.numbers = np.array([atom.element.atomic_number for atom in prmtop.topology.atoms()])
        self.terms = LigandForceField.from_system(self.system, range(len(self.numbers)))

    def run(self, kelvin: float, seed: int) -> Matrix:
        """Frames of one run after 2 ps, ``(FRAMES, atoms, 3)`` bohr."""
        integrator = openmm.LangevinMiddleIntegrator(kelvin, 5 / unit.picosecond, 0.0005)
        integrator.setRandomNumberSeed(seed)
        context = openmm.Context(self.system, integrator, openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(self.start)
        context.setVelocitiesToTemperature(kelvin, seed)
        integrator.step(4000)
        found = []
        for _ in range(FRAMES):
            integrator.step(1000)
            state = context.getState(positions=True)
            found.append(np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)))
        return np.array(found) * nanometer

    def record(self, places: Matrix) -> Dataset:
        """Frames to compare with: only their geometries count, so all have one energy."""
        frames = frames_of_arrays(
            self.numbers,
            places,
            level="geometries",
            energies=np.zeros(len(places)),
            fixed_charges=self.terms.charges,
        )
        return Dataset.from_labels(frames, energies="relative")

    def trained(self, places: Matrix) -> Committee:
        """Networks fitted to Hartree-Fock labels of these frames, in blocks of four."""
        made = []
        for place in places:
            system = MolecularSystem.from_atoms(self.numbers, place, charges=self.terms.charges)
            regions = Partition.select(system, qm=range(len(self.numbers)), charge=0)
            made.append(label(system, regions, Level("HF", "STO-3G")))
        return train(Dataset.from_labels(made, blocks=[i // 4 for i in range(len(made))]), SPEC, self.terms)


def outside(committee: Committee, places: Matrix) -> float:
    """Share of frames beyond the edge."""
    return float(np.mean([committee.predict(place, *NOTHING).novelty > 1 for place in places]))


@click.command()
@click.option("--draws", default=6, show_default=True, help="Draws of training frames for each size.")
@click.option("--asked", default=100, show_default=True, help="Unseen frames asked about in each draw.")
@click.option("--runs", default=3, show_default=True, help="Runs at 300 K that frames are drawn from.")
def main(draws: int, asked: int, runs: int) -> None:
    molecule = Molecule()
    committee = molecule.trained(molecule.run(300, 1)[:: FRAMES // LABELS][:LABELS])
    cold = np.concatenate([molecule.run(300, 10 + k) for k in range(runs)])
    hot = molecule.run(800, 2)[:asked]
    rows = []
    for size in SIZES:
        shares = []
        for draw in range(draws):
            order = np.random.default_rng([size, draw]).permutation(len(cold))
            known = committee.referred_to(molecule.record(cold[order[:size]]))
            shares.append((outside(known, cold[order[size : size + asked]]), outside(known, hot)))
        mean, spread = np.mean(shares, axis=0), np.std(shares, axis=0, ddof=1)
        rows.append(
            {
                "training_frames": size,
                "unseen_300k": [round(float(mean[0]), 3), round(float(spread[0]), 3)],
                "800k": [round(float(mean[1]), 3), round(float(spread[1]), 3)],
            }
        )
    print(
        json.dumps(
            {
                "molecule": "p-xylene, no surroundings",
                "draws": draws,
                "frames_asked": asked,
                "outside_mean_and_deviation": rows,
                "cpu_s": round(resource.getrusage(resource.RUSAGE_SELF).ru_utime, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
