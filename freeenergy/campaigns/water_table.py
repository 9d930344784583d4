"""The table ``[water]`` of a campaign's input: TOML in, checked settings of explicit solvent out."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from drupe.freeenergy.inputs.quantities import Bar, Bohr
from drupe.freeenergy.inputs.toml_input import Table
from drupe.units import angstrom, nanometer

__all__ = ["Water"]


class Water(Table):
    """Explicit solvent: both legs in boxes of water under PME, at constant pressure.

    A complex that has no box yet is put into one; the ligand always is, with the water of the complex.
    ``padding`` is the least distance of the solute to the edge of the box, ``counter_ions`` says what keeps
    the charge of the box while that of a charged ligand goes: ions, or waters that become ions; with
    ``"none"`` the number is refused, unless ``finite_size_correction`` undoes what the boxes then do: the
    ligand is alone with its water in the solvent leg. Labels see the charges of whole molecules within
    ``reach`` of the ligand, and so does the learned potential.
    """

    pressure: Annotated[Bar, Field(le=1e5)] = 1.0
    padding: Annotated[Bohr, Field(le=10 * nanometer)] = 1.2 * nanometer
    counter_ions: Literal["ion", "water", "none"] = "ion"
    finite_size_correction: bool = False
    reach: Annotated[Bohr, Field(ge=4 * angstrom, le=10 * nanometer)] = 9.0 * angstrom

    @model_validator(mode="after")
    def _counter_ion_or_correction(self) -> "Water":
        if self.finite_size_correction and self.counter_ions != "none":
            raise ValueError(
                f'finite_size_correction and counter_ions = "{self.counter_ions}" are two ways to treat the '
                'charge of a ligand: set counter_ions = "none" with the correction, or leave it out'
            )
        return self
