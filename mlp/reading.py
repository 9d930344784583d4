"""What a data set takes from labels: their fields, one level, and whose slope their forces are (atomic)."""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.level import Level
from drupe.errors import InputError
from drupe.mlp.whole_numbers import atomic_numbers, whole_numbers

__all__ = [
    "ACCEPTED",
    "LabelLike",
    "check_labels",
    "core_potentials_of",
    "force_kind",
    "known_energies",
    "level_of",
    "low_level_of",
    "padded_groups",
    "padded_slopes",
]

#: Forces that can stand beside core-corrected energies.
ACCEPTED = ("energy", "MP2")


class LabelLike(Protocol):
    """The fields of a label that a data set reads (see ``drupe.embedding.Label``)."""

    @property
    def level(self) -> Any: ...  # noqa: D102
    @property
    def energy(self) -> float | None: ...  # noqa: D102
    @property
    def energy_low(self) -> float | None: ...  # noqa: D102
    @property
    def forces_of(self) -> str: ...  # noqa: D102
    @property
    def forces_qm(self) -> NDArray[np.float64] | None: ...  # noqa: D102
    @property
    def forces_mm(self) -> NDArray[np.float64] | None: ...  # noqa: D102
    @property
    def qm_numbers(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def qm_positions(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def qm_fixed_charges(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def mm_positions(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def mm_charges(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def directions(self) -> NDArray[np.float64] | None: ...  # noqa: D102
    @property
    def slopes(self) -> NDArray[np.float64] | None: ...  # noqa: D102
    @property
    def slope_errors(self) -> NDArray[np.float64] | None: ...  # noqa: D102


def force_kind(label: LabelLike, which: str, accept: Collection[str]) -> str:
    """Say what the label's forces are to the energy that is learned.

    Parameters
    ----------
    label
        The label.
    which
        ``"high"`` or ``"low"``: the energy that is learned.
    accept
        Of `ACCEPTED`; used with ``"high"``.

    Returns
    -------
    str
        ``"energy"`` for the slope of that energy, ``"MP2"`` for the accepted stand-in, ``"nothing"`` for
        forces that are not there or belong to another energy: these are masked.
    """
    if label.forces_qm is None and label.forces_mm is None:
        return "nothing"
    both = label.energy == label.energy_low and label.forces_of in ("energy", "energy_low")
    if both or label.forces_of == ("energy" if which == "high" else "energy_low"):
        found = "energy"
    else:
        found = "MP2" if which == "high" and label.forces_of == "MP2" else "nothing"
    return found if which == "low" or found in accept else "nothing"


def padded_slopes(items: Sequence[LabelLike], which: str) -> dict[str, NDArray[Any]]:
    """Directional derivatives of ``energy``, padded to the longest list; none with ``"low"``.

    Errors that a source does not know are 0: they only make a slope count less.

    Raises
    ------
    InputError
        If a label has slopes without directions, or directions without slopes.
    """
    for i, label in enumerate(items):
        if (label.directions is None) != (label.slopes is None):
            raise InputError(
                f"label {i} has no {'directions' if label.directions is None else 'slopes'} beside its "
                f"{'slopes' if label.directions is None else 'directions'}",
                remedy="give both, one slope per direction",
            )
    counts = [0 if which == "low" or label.directions is None else len(label.directions) for label in items]
    most, atoms = max(counts), len(items[0].qm_numbers)
    made: dict[str, NDArray[Any]] = {
        "directions": np.zeros((len(items), most, atoms, 3)),
        "slopes": np.zeros((len(items), most)),
        "slope_errors": np.zeros((len(items), most)),
        "has_slopes": np.arange(most) < np.array(counts)[:, None],
    }
    for i, (label, count) in enumerate(zip(items, counts, strict=True)):
        for name in ("directions", "slopes", "slope_errors") if count else ():
            if (known := getattr(label, name)) is not None:
                made[name][i, :count] = known
    return made


def padded_groups(items: Sequence[LabelLike], given: Sequence[NDArray[np.int64]] | None) -> NDArray[np.int64]:
    """Residue of each MM atom, shape ``(labels, mm)``: -1 as padding, and for labels that do not know theirs.

    Parameters
    ----------
    items
        The labels; one made by an older version, or by another program, has no ``mm_groups``.
    given
        Groups to take instead, one array per label, or None.

    Raises
    ------
    InputError
        If a label's groups are not one whole number from 0 on per MM atom.
    """
    counts = [len(label.mm_charges) for label in items]
    made = np.full((len(items), max(counts)), -1, np.int64)
    found = [getattr(label, "mm_groups", None) for label in items] if given is None else list(given)
    if len(found) != len(items):
        raise InputError(
            f"groups of {len(found)} labels were given for {len(items)} labels",
            remedy="give one array per label, in the same order",
        )
    for i, (one, count) in enumerate(zip(found, counts, strict=True)):
        if one is None:
            continue
        numbers = whole_numbers("mm_groups", one)
        if numbers.shape != (count,) or (numbers < 0).any():
            raise InputError(
                f"the groups of label {i} have shape {numbers.shape} for {count} MM atoms, or are negative",
                remedy="give one whole number from 0 on per MM atom: the residue it belongs to",
            )
        made[i, :count] = numbers
    return made


def level_of(items: Sequence[LabelLike], which: str) -> str:
    """Name the one level of the labels' energies.

    Raises
    ------
    InputError
        If there are several.
    """
    names = {_level_name(label, which) for label in items}
    if len(names) > 1:
        raise InputError(
            f"the labels are of different levels: {', '.join(sorted(names))}",
            remedy="use labels of one level"
            + (
                ', or which="low" to take only the level they share'
                if which == "high" and len({_level_name(label, "low") for label in items}) == 1
                else ""
            ),
        )
    return names.pop()


def low_level_of(items: Sequence[LabelLike]) -> str:
    """Name the level of the low energies; empty where the labels do not say it, or not the same."""
    names = {
        label.level.low_name if isinstance(label.level, Level) else getattr(label, "level_low", None) or ""
        for label in items
    }
    return names.pop() if len(names) == 1 else ""


def check_labels(items: Sequence[LabelLike]) -> None:
    """Refuse labels of different molecules, or of none.

    Raises
    ------
    InputError
        With the number of the label that does not fit.
    """
    first = items[0]
    atomic_numbers(first.qm_numbers)
    for i, label in enumerate(items):
        if not np.array_equal(label.qm_numbers, first.qm_numbers):
            raise InputError(
                f"label {i} has the atomic numbers {list(label.qm_numbers)}, "
                f"label 0 has {list(first.qm_numbers)}",
                remedy="use labels of one molecule with its atoms in one order",
            )
        if not np.allclose(label.qm_fixed_charges, first.qm_fixed_charges, rtol=0, atol=1e-9):
            raise InputError(
                f"label {i} has other fixed charges on the QM atoms than label 0",
                remedy="use labels made with one force field",
            )


def known_energies(energies: Sequence[float | None]) -> NDArray[np.float64]:
    """Energies with nan for those that a source does not have.

    Raises
    ------
    InputError
        If one is not a number.
    """
    for i, energy in enumerate(energies):
        if energy is not None and not np.isfinite(energy):
            raise InputError(
                f"energy of label {i} is not a finite number",
                remedy="leave this label out, or compute it again",
            )
    return np.array([np.nan if energy is None else energy for energy in energies], dtype=np.float64)


def core_potentials_of(items: Sequence[LabelLike]) -> bool:
    """Whether the labels' level takes core electrons away; a level that is only a name does not say so."""
    return any(isinstance(label.level, Level) and label.level.ecp is not None for label in items)


def _level_name(label: LabelLike, which: str) -> str:
    """Name of the level of an energy: the same whatever forces came with it; ``"low"`` knows no cores."""
    level = label.level
    if isinstance(level, Level):
        return level.low_name if which == "low" else level.energy_key
    low = getattr(label, "level_low", None) if which == "low" else None
    return str(low or getattr(level, "key", level))
