"""Alchemical windows of a leg that names none: a leg in, its lambda lists out.

Restraints first, then charges, then the soft-core Lennard-Jones part in steps that become finer towards its
end: 30 windows where the ligand is bound, 14 in solvent.
"""

from typing import Final

__all__ = ["STANDARD_WINDOWS"]

_HELD = (0.0, 0.2, 0.4, 0.6, 0.8)
_CHARGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
_STERICS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.0)
_ALONE_CHARGES = (1.0, 0.75, 0.5, 0.25, 0.0)
_ALONE_STERICS = (0.88, 0.76, 0.64, 0.52, 0.4, 0.3, 0.23, 0.15, 0.0)

#: Lambda of restraints, electrostatics and sterics in each window, by leg.
STANDARD_WINDOWS: Final = {
    "complex": {
        "restraints": [*_HELD, *[1.0] * (len(_CHARGES) + 1 + len(_STERICS))],
        "electrostatics": [*[1.0] * len(_HELD), *_CHARGES, *[0.0] * (1 + len(_STERICS))],
        "sterics": [*[1.0] * (len(_HELD) + len(_CHARGES) + 1), *_STERICS],
    },
    "solvent": {
        "electrostatics": [*_ALONE_CHARGES, *[0.0] * len(_ALONE_STERICS)],
        "sterics": [*[1.0] * len(_ALONE_CHARGES), *_ALONE_STERICS],
    },
}
