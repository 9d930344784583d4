import dataclasses

import numpy as np
import pytest

from drupe.embedding import CoreSpec, MolecularSystem, Partition
from drupe.embedding.regions.selection import select
from drupe.errors import InputError
from drupe.units import angstrom, nanometer

LIGAND = "resname TMP"


def atoms(system, text):
    return select(system, text, what="a test")


def test_whole_residues_near_the_ligand(t4l):
    system = t4l.system
    ligand = atoms(system, LIGAND)
    apart = np.linalg.norm(system.positions[:, None] - system.positions[ligand][None], axis=2).min(axis=1)
    near = {system.residue_ids[i] for i in np.flatnonzero(apart <= 4.0 * angstrom)}
    expected = np.flatnonzero(np.isin(system.residue_ids, list(near)))
    found = atoms(system, f"within 4 A of ({LIGAND})")
    assert found.tolist() == expected.tolist()
    assert set(ligand) < set(found)
    assert 5 < len(near) < 25
    for text in (f"within 0.4 nm of ({LIGAND})", f"WITHIN {4 * angstrom} bohr OF({LIGAND})"):
        assert atoms(system, text).tolist() == expected.tolist()


def test_distances_combine_with_the_language(t4l):
    system = t4l.system
    whole = atoms(system, f"within 4.0 A of ({LIGAND})")
    side = atoms(system, f"within 4.0 A of ({LIGAND}) and sidechain")
    assert set(side) == set(whole) & set(atoms(system, "sidechain"))
    assert set(atoms(system, f"not within 4.0A of ({LIGAND})")) == set(range(2621)) - set(whole)
    nested = atoms(system, f"within 3 A of ((within 4 A of ({LIGAND})) and not {LIGAND})")
    assert set(whole) < set(nested)
    either = atoms(system, f"within 3 A of (resSeq 118) or within 3 A of ({LIGAND})")
    assert set(either) == set(atoms(system, "within 3 A of (resSeq 118)")) | set(
        atoms(system, f"within 3 A of ({LIGAND})")
    )


@pytest.mark.parametrize(
    "box", [np.diag([12.0, 14.0, 16.0]), [[12, 0, 0], [5, 13, 0], [-5, 4, 11]], np.diag([3.0, 14.0, 16.0])]
)
def test_distances_are_those_of_the_nearest_image(box):
    """Against all images one by one; the last box is smaller than the distance."""
    box = np.array(box, float)
    rng = np.random.default_rng(4)
    system = dataclasses.replace(
        MolecularSystem.from_atoms(np.full(60, 2), rng.normal(size=(60, 3)) * 15),
        residue_ids=np.arange(60),
        box=box,
    )
    cells = np.array([[i, j, k] for i in range(-30, 31) for j in range(-9, 10) for k in range(-9, 10)]) @ box
    apart = system.positions - system.positions[0]
    apart = np.array([np.linalg.norm(a + cells, axis=1).min() for a in apart])
    found = atoms(system, "within 4 bohr of (resSeq 0)")
    assert found.tolist() == np.flatnonzero(apart <= 4.0).tolist()
    assert 1 < len(found) < 60


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("within 4 of (resname TMP)", "cannot be read"),
        ("within 4 A of resname TMP", "cannot be read"),
        ("within -4 A of (resname TMP)", "no distance"),
        ("within nan A of (resname TMP)", "no distance"),
        ("within four A of (resname TMP)", "no distance"),
        ("within 4 A of (resname TMP", "stays open"),
        ("within 4 A of (resname TMQ)", "for a distance in a test is empty"),
        ("within 4 A of (resname TMP and and)", "not MDTraj's language"),
    ],
)
def test_a_distance_that_cannot_be_read_is_refused(t4l, text, found):
    with pytest.raises(InputError, match=found):
        atoms(t4l.system, text)


def test_a_ligand_with_side_chains_of_its_pocket(t4l):
    """Selected by distance, cut at CA-CB, frozen to indices."""
    regions = Partition.select(
        t4l.system, qm=f"{LIGAND} or (within 2.7 A of ({LIGAND}) and sidechain)", charge=0, cores=[LIGAND]
    )
    names = [tuple(t4l.system.atom_names[i] for i in pair) for pair in regions.links]
    assert set(names) == {("CB", "CA")}
    assert len(names) >= 1
    assert (
        regions.core_rows(regions.cores[0]).tolist()
        == np.searchsorted(regions.qm, range(2603, 2621)).tolist()
    )
    moved = t4l.system.with_positions(t4l.system.positions + 0.5 * nanometer)
    regions.check_fits(moved)


def test_a_core_can_be_given_with_its_state(t4l):
    regions = Partition.select(
        t4l.system,
        qm=LIGAND,
        charge=0,
        cores=[CoreSpec(f"{LIGAND} and name C8 H8 H9 H10", multiplicity=3, label="methyl"), CoreSpec([2603])],
    )
    assert [core.label for core in regions.cores] == ["methyl", "core 2"]
    assert [core.multiplicity for core in regions.cores] == [3, 1]
