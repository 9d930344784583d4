"""Conversion factors at the doors. Multiply to come in, divide to go out; atomic units inside.

Source: CODATA as shipped with scipy.
"""

from typing import Final

from scipy.constants import physical_constants
from scipy.constants import value as _codata

__all__ = [
    "angstrom",
    "ev",
    "kcal_per_mol",
    "kj_per_mol",
    "kt",
    "nanometer",
    "standard_volume_nm3",
]

_hartree_joule: Final[float] = _codata("Hartree energy")
_bohr_meter: Final[float] = _codata("Bohr radius")
_avogadro: Final[float] = physical_constants["Avogadro constant"][0]

angstrom: Final[float] = 1e-10 / _bohr_meter
nanometer: Final[float] = 1e-9 / _bohr_meter
ev: Final[float] = _codata("elementary charge") / _hartree_joule
kj_per_mol: Final[float] = 1e3 / _avogadro / _hartree_joule
kcal_per_mol: Final[float] = 4.184 * kj_per_mol
#: One molecule per litre of a 1 mol/l solution, in nm^3 (the standard state of binding).
standard_volume_nm3: Final[float] = 1e24 / _avogadro


def kt(temperature_k: float) -> float:
    """Thermal energy k_B T in hartree at ``temperature_k`` kelvin."""
    return temperature_k * float(_codata("Boltzmann constant")) / _hartree_joule
