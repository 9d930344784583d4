"""D3(BJ) dispersion as a term of a potential: what labels hold of it in, labels that hold it out (hartree).

A potential with this term has D3(BJ) of its own atoms in its energy, computed by the library and never
learned; the network learns what is left of labels that hold it too. So it is in a total once: either the
labels have it from their level, or `with_dispersion` puts it into them first.
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from drupe.embedding.level import Level
from drupe.embedding.meanfield.dispersion import D3Energy
from drupe.errors import InputError

if TYPE_CHECKING:
    from drupe.mlp.dataset import Dataset

__all__ = ["NONE", "UNKNOWN", "check_dispersion_of", "check_name", "dispersion_of", "with_dispersion"]

#: What a data set says of labels without dispersion, and of labels that only have a name for their level.
NONE, UNKNOWN = "none", "unknown"
_MODEL = "d3bj"
_MODELS = (_MODEL, "d4")


def dispersion_of(labels: Sequence[Any]) -> str:
    """Dispersion that the energies of labels hold: ``"PBE-d3bj"``, ``"none"`` or ``"unknown"``.

    Raises
    ------
    InputError
        If labels differ in it.
    """
    found = {_of_one(label) for label in labels}
    if len(found) > 1:
        raise InputError(
            f"the labels differ in the dispersion they hold: {', '.join(sorted(found))}",
            remedy="use labels of one level",
        )
    return found.pop()


@lru_cache
def check_name(name: str | None) -> None:
    """Refuse a name of a dispersion that says nothing: no functional, or no model of it.

    Parameters
    ----------
    name
        A functional by PySCF's name and ``"d3bj"`` or ``"d4"``, in any case of letters: ``"PBE-d3bj"``; or
        ``"none"``, or ``"unknown"`` or None.

    Raises
    ------
    InputError
        With the nearest name that means something.
    """
    if name in (None, NONE, UNKNOWN):
        return
    functional, _, model = name.rpartition("-")
    if model.lower() in _MODELS and _is_functional(functional):
        return
    raise InputError(
        f"dispersion={name!r} names no functional with a dispersion model",
        remedy=_nearest(name)
        + f'give it as "PBE-{_MODEL}" or "PBE-d4", "{NONE}" for none, or leave it out where it is another or '
        "not known",
    )


def _nearest(name: str) -> str:
    """Suggest the name that was probably meant; empty if nothing is near."""
    from pyscf.dft import libxc

    functional, _, model = name.rpartition("-")
    if not functional or (model.lower()[:2] not in ("d3", "d4") and _is_functional(name)):
        functional, model = name, ""
    found = functional if _is_functional(functional) else None
    if found is None:
        plain = {one.upper(): one for one in (NONE, *libxc.XC_ALIAS, *libxc.XC_CODES)}
        close = difflib.get_close_matches(functional.upper(), plain, n=1)
        found = plain[close[0]] if close else None
    if found is None:
        return ""
    if found == NONE:
        return f"did you mean {NONE!r}? "
    return f"did you mean {found + '-' + ('d4' if model.lower().startswith('d4') else _MODEL)!r}? "


def _is_functional(name: str) -> bool:
    from pyscf.dft import libxc

    try:
        return (bool(name) and any(libxc.parse_xc(name)[1])) or name.upper() == "HF"
    except (KeyError, ValueError):
        return False


def with_dispersion(dataset: "Dataset", functional: str) -> "Dataset":
    """Add D3(BJ) of the QM atoms to labels that have no dispersion.

    Parameters
    ----------
    dataset
        Labels without dispersion.
    functional
        Whose published parameters are used: that of the labels.

    Returns
    -------
    Dataset
        The same frames; energies, forces on QM atoms and slopes with D3(BJ), and a level that says so.

    Raises
    ------
    InputError
        If the labels hold dispersion already or it is not known, their energies are core-corrected, or the
        functional has no parameters.
    MachineError
        If dftd3 is not installed.
    """
    if dataset.dispersion != NONE:
        raise InputError(
            f"the labels' dispersion is {dataset.dispersion!r}, D3(BJ) is added to labels without any",
            remedy="leave it out where the labels have it; for labels that only name their level say what "
            'they hold: frames_of_arrays(..., dispersion="none")',
        )
    both = dataset.has_energy & dataset.has_energy_low
    if (dataset.energy != dataset.energy_low)[both].any():
        raise InputError(
            "the energies have core corrections, which hold the dispersion inside the cores already",
            remedy='label with Level(dispersion="d3bj"): what is inside the cores is then counted once',
        )
    model = D3Energy(dataset.network_numbers, functional)
    energy, forces = np.zeros(dataset.n_frames), np.zeros_like(dataset.forces_qm)
    on_mm = np.zeros_like(dataset.forces_mm)
    for i in range(dataset.n_frames):
        place, points, charges, groups, rows = dataset.frame(i)
        if dataset.border is None or rows is None:
            energy[i], forces[i] = model(place)
        else:  # link atoms have dispersion too, and hand their forces to both hosts
            capped = dataset.border.cap(place, points, charges, groups, rows)
            energy[i], whole = model(capped.positions)
            forces[i], on_mm[i, : len(points)] = capped.scatter(whole, np.zeros_like(capped.points))
    slopes = -np.einsum("fkix,fix->fk", dataset.directions, forces)
    return replace(
        dataset,
        energy=np.where(dataset.has_energy, dataset.energy + energy, 0.0),
        energy_low=np.where(dataset.has_energy_low, dataset.energy_low + energy, 0.0),
        forces_qm=np.where(dataset.has_forces_qm[:, None, None], dataset.forces_qm + forces, 0.0),
        forces_mm=np.where(dataset.has_forces_mm[:, None, None], dataset.forces_mm + on_mm, 0.0),
        slopes=np.where(dataset.has_slopes, dataset.slopes + slopes, 0.0),
        level=f"{dataset.level} + {functional}-{_MODEL}",
        dispersion=f"{functional}-{_MODEL}",
    )


def check_dispersion_of(term: str | None, dataset: "Dataset") -> None:
    """Refuse labels that do not hold the dispersion a potential has as a term of its own.

    Parameters
    ----------
    term
        Functional of the potential's D3(BJ); None accepts all labels, what they hold is learned.
    dataset
        The labels.

    Raises
    ------
    InputError
        If the labels hold none, another or an unknown one.
    """
    if term is None or _plain(dataset.dispersion) == _plain(f"{term}-{_MODEL}"):
        return
    if dataset.dispersion == NONE:
        found = f"the labels hold no dispersion, the potential D3(BJ) of {term}"
        remedy = f'add it to the labels: with_dispersion(dataset, "{term}") of drupe.mlp.dispersion'
    elif dataset.dispersion == UNKNOWN:
        found = f"the potential holds D3(BJ) of {term}, and what dispersion the labels hold is not known"
        remedy = f'say it: frames_of_arrays(..., dispersion="{term}-{_MODEL}"), or "none"'
    else:
        found = f"the labels hold the dispersion {dataset.dispersion}, the potential D3(BJ) of {term}"
        functional, _, model = dataset.dispersion.rpartition("-")
        remedy = (
            f'ask for FitSpec(dispersion="{functional}")'
            if model == _MODEL
            else ("leave FitSpec(dispersion=) out: the labels' own dispersion is then learned with the rest")
        )
    raise InputError(found, remedy=remedy)


def _of_one(label: Any) -> str:
    level = label.level
    if isinstance(level, Level):
        return NONE if level.dispersion is None else f"{level.functional}-{level.dispersion}"
    return getattr(label, "dispersion", None) or UNKNOWN


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
