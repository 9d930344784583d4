"""Train the potential of phenol in water from labels: ``python make_model.py --folder pocket``.

FOLDER is what ``../pocket-labels/make.py`` made: PBE/def2-SVP energies and forces of phenol in clusters of
TIP3P water. Every fourth stretch of ten frames is kept out and tells the errors.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from openmm import app

HERE = Path(__file__).resolve().parent
POCKET = HERE.parent / "pocket-labels"
sys.path.insert(0, str(POCKET))

from pocket_labels import PocketLabel, read_labels  # noqa: E402

from drupe.mlp import Accuracy, Committee, Dataset, FitSpec, accuracy, train  # noqa: E402
from drupe.mlp.baseline import LigandForceField  # noqa: E402
from drupe.units import angstrom, kcal_per_mol  # noqa: E402

SPEC = FitSpec(members=2, seed=1, features=12, steps=1000, batch=8, reach=17.0)
FRAMES_PER_BLOCK = 10


def mm_terms() -> LigandForceField:
    """The molecule's own MM terms, with all bonds flexible."""
    pdb = app.PDBFile(str(POCKET / "phenol.pdb"))
    system = app.ForceField(str(POCKET / "phenol.xml")).createSystem(pdb.topology)
    return LigandForceField.from_system(system, range(system.getNumParticles()))


def data_of(made: Sequence[PocketLabel]) -> Dataset:
    """Low-level labels in blocks of ten frames; every three MM atoms are one water."""
    labels = [one.label for one in made]
    return Dataset.from_labels(
        labels,
        which="low",
        blocks=[100 * one.stage.run + one.stage.frame // FRAMES_PER_BLOCK for one in made],
        groups=[np.arange(len(label.mm_charges)) // 3 for label in labels],
    )


def fit(made: Sequence[PocketLabel], spec: FitSpec = SPEC) -> tuple[Committee, Accuracy]:
    """Train without every fourth block, and compare with these."""
    data = data_of(made)
    kept, held = data.split(np.unique(data.blocks)[3::4].tolist())
    committee = train(kept, spec, mm_terms())
    return committee, accuracy(committee, held)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=HERE / "phenol.drupe", show_default=True)
def main(folder: Path, out: Path) -> None:
    made = list(read_labels(folder, "phenol-water"))
    committee, found = fit(made)
    committee.save(out)
    force = found.force / kcal_per_mol * angstrom
    print(
        f"{committee}\n{len(made)} labels; of {found.energies} not fitted: energy "
        f"{found.energy_spread / kcal_per_mol:.2f} kcal/mol, force {force:.2f} kcal/mol/A"
    )


if __name__ == "__main__":
    main()
