"""Refuse labels of another molecule than the potential's: a header and a `Dataset` in, nothing out."""

import numpy as np

from drupe.errors import InputError
from drupe.mlp.border import same_border
from drupe.mlp.dataset import Dataset
from drupe.mlp.potential import PotentialHeader

__all__ = ["check_fixed_charges", "check_molecule"]

_SAME = 1e-9  # e


def check_molecule(header: PotentialHeader, dataset: Dataset, kind: str = "labels") -> None:
    """Compare elements and cut bonds.

    Parameters
    ----------
    header
        Of the potential.
    dataset
        The labels.
    kind
        What to call them.

    Raises
    ------
    InputError
        If the atoms, their order, or the border are others.
    """
    if not np.array_equal(dataset.numbers, header.numbers):
        raise InputError(
            f"the {kind} are of the atoms {dataset.numbers.tolist()}, the potential of "
            f"{header.numbers.tolist()}",
            remedy="use labels of the molecule the potential was trained on, with its atoms in their order",
        )
    if not same_border(dataset.border, header.border):
        told = ["no cut bond" if one is None else one.in_words for one in (dataset.border, header.border)]
        raise InputError(
            f"the {kind} have {told[0]}, the potential {told[1]}",
            remedy="use labels of the partition and the boundary scheme of the potential",
        )


def check_fixed_charges(header: PotentialHeader, dataset: Dataset, kind: str = "labels") -> None:
    """Compare the fixed charges of the QM atoms: what is learned is counted from them.

    Raises
    ------
    InputError
        If one differs.
    """
    apart = np.abs(dataset.fixed_charges - header.fixed_charges)
    if apart.max() > _SAME:
        raise InputError(
            f"the {kind} have other fixed charges on the QM atoms than the potential, by up to "
            f"{apart.max():.3g} e",
            remedy="use labels made with the force field of those the potential was trained on",
        )
