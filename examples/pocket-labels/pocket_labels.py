"""Labels of sampled frames: a frame in, DFT/MM energy and forces out, some with a coupled-cluster core.

A frame in water is labelled in a cluster of whole molecules. Energies in hartree, lengths in bohr.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pocket_sampling import PocketChunk, PocketStart

from drupe.embedding.labeling import Label, label
from drupe.embedding.level import Level
from drupe.embedding.regions.partition import Partition
from drupe.embedding.regions.periodic import cut_cluster
from drupe.embedding.system import MolecularSystem
from drupe.records import register, unpack
from drupe.store import read_rows

_DECIMALS = 7  # of the hash over numbers; labels are converged to 1e-8 hartree or better


@dataclass(frozen=True)
class Region:
    """The quantum region of a system: residue of the ligand, core atoms, and the core's orbitals.

    ``n_occupied`` is where the SPADE singular values fall most at the start structure. In water,
    molecules within ``cluster_bohr`` of the ligand act.
    """

    residue: str
    core: tuple[str, ...]
    n_occupied: int
    cluster_bohr: float | None


REGIONS: Mapping[str, Region] = {
    "xylene-t4l": Region("TMP", ("C8", "H8", "H9", "H10"), 5, None),
    "phenol-water": Region("IPH", ("O1", "H6"), 5, 17.0),
}


@register(version=1)
@dataclass(frozen=True, eq=False)
class PocketFrame:
    """Settings of `label_frame`: which frame, at which level; ``solver`` None makes no core correction."""

    system: str
    run: int
    frame: int
    place: int
    solver: str | None
    n_occupied: int
    cluster_bohr: float | None
    functional: str = "PBE"
    basis: str = "def2-SVP"
    grid: int = 3
    virtual_shells: int = 1


@register(version=1)
@dataclass(frozen=True, eq=False)
class PocketLabel:
    """A label, where its frame comes from, and how many atoms the cluster it was made in has."""

    stage: PocketFrame
    label: Label
    atoms: int

    @property
    def ledger_energies(self) -> Mapping[str, float]:
        """Energies for the store's ledger, in hartree."""
        return {"low": self.label.energy_low, "total": self.label.energy}


def label_frame(settings: PocketFrame, start: PocketStart, chunk: PocketChunk) -> PocketLabel:
    """Label one frame of a chunk."""
    system = start.structure.system.with_positions(chunk.positions[settings.place])
    region = REGIONS[settings.system]
    ligand = _named(system, region.residue)
    if settings.cluster_bohr is not None:
        system = cut_cluster(system, np.array(ligand), settings.cluster_bohr).system
        ligand = _named(system, region.residue)
    core = [atom for atom in ligand if system.atom_names[atom] in region.core]
    partition = Partition.select(system, qm=ligand, charge=0, cores=[core] if settings.solver else ())
    level = Level(
        functional=settings.functional,
        basis=settings.basis,
        grid=settings.grid,
        core=settings.solver,
        virtual_shells=settings.virtual_shells,
        n_occupied=(settings.n_occupied,) if settings.solver else None,
    )
    return PocketLabel(settings, label(system, partition, level), system.n_atoms)


def read_labels(folder: Path, system: str) -> Iterator[PocketLabel]:
    """Read the finished labels of a system, in the order of runs and frames; also while more are made."""
    blobs = {row.name: row.blob for row in read_rows(folder) if row.kind == "label" and row.state == "done"}
    for name in sorted(name for name in blobs if name.startswith(system + "/")):
        blob = blobs[name]
        assert blob is not None
        yield unpack((folder / "blobs" / blob[:2] / blob).read_bytes())


def tell(folder: Path, system: str) -> str:
    """Count the labels of a system and name their content: by what was asked, and by the numbers."""
    keys, high, numbers = [], 0, hashlib.sha256()
    for made in read_labels(folder, system):
        keys.append(made.label.key)
        high += bool(made.label.cores)
        found = made.label
        for value in (found.energy_low, found.energy, found.qm_positions, found.forces_qm, found.forces_mm):
            rounded = np.round(np.asarray(value, np.float64), _DECIMALS) + 0.0  # no negative zero
            numbers.update(np.ascontiguousarray(rounded).tobytes())
    asked = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()
    return (
        f"{system}: {len(keys)} labels, {high} of them core-corrected\n"
        f"  sha256 of the sorted keys {asked}\n  sha256 of the numbers     {numbers.hexdigest()}"
    )


def _named(system: MolecularSystem, residue: str) -> list[int]:
    return [atom for atom, name in enumerate(system.residue_names) if name == residue]
