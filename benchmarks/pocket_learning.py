"""What a potential learns from 300 labels of a pocket or of a solute in water, and what the field is worth.

Reads the data set of examples/pocket-labels (PBE/def2-SVP): p-xylene in T4 lysozyme, phenol in TIP3P water.
Labels come in stretches of ten frames, 1 ps apart; every fifth stretch is held out and seen by no fit. The
same network learns the same labels in the same number of steps twice: with electrostatic embedding, and
with mechanical embedding (reach 0: the surroundings act on the fixed charges only). Prints one JSON object;
energies are standard deviations (kcal/mol), forces root mean squares of components (kcal/mol/A).
Run: OMP_NUM_THREADS=1 python benchmarks/pocket_learning.py --folder pocket --system phenol-water
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
sys.path[:0] = [str(EXAMPLES / "pocket-labels"), str(EXAMPLES / "plugin")]

from make_model import data_of, mm_terms  # noqa: E402
from pocket_labels import read_labels  # noqa: E402

from drupe.embedding.structures.structure import locate, read_amber  # noqa: E402
from drupe.mlp import Committee, Dataset, FitSpec, train  # noqa: E402
from drupe.mlp.backbones.settings import ChargeMoments  # noqa: E402
from drupe.mlp.baseline import LigandForceField  # noqa: E402
from drupe.mlp.coverage import Reliability, reliability  # noqa: E402
from drupe.mlp.fit_folder import FitFolder  # noqa: E402
from drupe.mlp.validation import accuracy  # noqa: E402
from drupe.units import angstrom, kcal_per_mol  # noqa: E402

T4L = "package:openmmtools/data/T4-lysozyme-L99A-implicit/"
REACH_BOHR = {"xylene-t4l": None, "phenol-water": 17.0}
MOMENTS = {"xylene-t4l": None, "phenol-water": ChargeMoments()}
QUANTITIES = ("energy", "force", "mm_force")
EMBEDDINGS = ("electrostatic", "mechanical")


def terms(system: str) -> LigandForceField:
    """MM terms of the molecule, which the network learns the difference to."""
    if system == "phenol-water":
        return mm_terms()
    structure = read_amber(
        locate(f"{T4L}complex.prmtop", Path()), locate(f"{T4L}complex-minimized.crd", Path())
    )
    ligand = np.flatnonzero(np.array(structure.system.residue_names) == "TMP")
    return LigandForceField.from_structure(structure, ligand)


def errors(committee: Committee, held: Dataset) -> dict[str, float]:
    """Errors on labels that no fit saw, and how often the 95 % intervals hold them."""
    found = accuracy(committee, held)
    force = kcal_per_mol / angstrom
    made = committee.predict_all(held)
    absolute = np.abs(np.array([one.forces_qm for one in made]) - held.forces_qm).mean()
    return {
        "energy_kcal_mol": found.energy_spread / kcal_per_mol,
        "energy_mean_kcal_mol": found.energy_mean / kcal_per_mol,
        "force_kcal_mol_a": found.force / force,
        "force_mae_kcal_mol_a": float(absolute) / force,
        "mm_force_kcal_mol_a": found.mm_force / force,
        "inside_95_percent": {
            name: one.inside for name, one in zip(QUANTITIES, reliability(committee, held), strict=True)
        },
        "calibrated": calibrated(committee, held),
    }


def calibrated(committee: Committee, held: Dataset) -> dict[str, dict[str, float]]:
    """The same of intervals calibrated on the other held-out stretches, each stretch in turn.

    ``inside`` the share over all stretches, ``allowed`` its binomial standard error if it is 95 %,
    ``half_width`` the median half-width in units of the root-mean-square error.
    """
    rows: list[tuple[Reliability, ...]] = []
    for block in np.unique(held.blocks).tolist():
        others, one = held.split([block])
        rows.append(reliability(committee.calibrated(others), one))
    found = {}
    for k, name in enumerate(QUANTITIES):
        parts = [row[k] for row in rows]
        frames = np.array([part.frames for part in parts])
        error = np.sqrt(np.average([part.rmse**2 for part in parts], weights=frames))
        found[name] = {
            "inside": float(np.average([part.inside for part in parts], weights=frames)),
            "allowed": float(np.sqrt(0.95 * 0.05 / frames.sum())),
            "half_width": float(np.median([part.half_width for part in parts]) / error),
        }
    return found


@click.command()
@click.option("--folder", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--system", type=click.Choice(sorted(REACH_BOHR)), required=True)
@click.option("--embedding", type=click.Choice(EMBEDDINGS), multiple=True, default=EMBEDDINGS)
@click.option("--preset", default="fast", show_default=True)
@click.option("--members", default=2, show_default=True)
@click.option("--steps", default=6000, show_default=True)
@click.option("--moments/--no-moments", default=True, help="Of the charges, for phenol in water.")
@click.option("--workers", default=2, show_default=True)
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Further changes to the preset.")
@click.option("--fits", type=click.Path(path_type=Path), help="Go on from here after a kill.")
@click.option("--save", type=click.Path(path_type=Path), help="Where the electrostatic one is saved.")
def main(
    folder: Path,
    system: str,
    embedding: tuple[str, ...],
    preset: str,
    members: int,
    steps: int,
    moments: bool,
    workers: int,
    changes: tuple[str, ...],
    fits: Path | None,
    save: Path | None,
) -> None:
    """Train with both embeddings and compare on the labels held out."""
    data = data_of(list(read_labels(folder, system)))
    kept, held = data.split(np.unique(data.blocks)[4::5].tolist())
    more = {name: json.loads(value) for name, value in (change.split("=", 1) for change in changes)}
    reading = MOMENTS[system] if moments else None
    spec = FitSpec.preset(
        preset, members=members, steps=steps, reach=REACH_BOHR[system], settings=reading, **more
    )
    report = {"system": system, "fitted": kept.n_frames, "held_out": held.n_frames, "rows": {}}
    for which in embedding:
        asked = spec if which == "electrostatic" else replace(spec, reach=0.0, settings=None)
        begun = time.perf_counter()
        made = train(
            kept,
            asked,
            terms(system),
            workers=workers,
            folder=None if fits is None else FitFolder(fits),
            on_progress=lambda progress: print(progress, file=sys.stderr, flush=True),
        )
        report["rows"][which] = {"wall_s": round(time.perf_counter() - begun), **errors(made, held)}
        if save is not None and which == "electrostatic":
            made.save(save)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
