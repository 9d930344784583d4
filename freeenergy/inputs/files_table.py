"""The files of a structure as inputs name them, with what `read_structure` wants to know of them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from drupe.embedding.structures.structure import locate
from drupe.freeenergy.inputs.quantities import Bohr
from drupe.freeenergy.inputs.toml_input import Table

__all__ = ["FilesTable"]


class FilesTable(Table):
    """Topology, coordinates and what else they need, as `read_structure` takes them.

    ``parameters`` are those of CHARMM, ``system`` the XML of a serialised OpenMM System beside a PDB file,
    ``include`` the force fields of GROMACS; ``ph`` is for a PDB file that becomes a complex with a ligand.
    """

    topology: str
    coordinates: str | None = None
    parameters: list[str] = Field(default_factory=list)
    system: str | None = None
    include: str | None = None
    box: Annotated[list[Bohr], Field(min_length=3, max_length=3)] | None = None
    ph: Annotated[float, Field(ge=0.0, le=14.0, strict=True)] | None = None

    def reading(
        self,
        base: Path,
        *,
        ligand: str | None = None,
        solvent: Literal["box"] | None = None,
        padding_nm: float | None = None,
    ) -> dict[str, Any]:
        """Arguments of `read_structure`; relative paths start from ``base``.

        ``ligand`` is the SDF file of a complex that is built, in vacuum, or with ``padding_nm`` of water.
        """

        def place(path: str | None) -> Path | None:
            return None if path is None else locate(path, base)

        return {
            "topology": locate(self.topology, base),
            "coordinates": place(self.coordinates),
            "parameters": [locate(path, base) for path in self.parameters],
            "system": place(self.system),
            "ligand": place(ligand),
            "include": None if self.include is None else base / self.include,
            "box": None if self.box is None else np.diag(self.box),
            "solvent": solvent,
            "ph": self.ph,
            "padding_nm": padding_nm,
        }
