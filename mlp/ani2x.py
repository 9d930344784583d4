"""ANI-2x as a baseline: which atoms, and which weights on disk (wB97X/6-31G(d), hartree).

Devereux et al., Extending the applicability of the ANI deep learning molecular potential to sulfur and
halogens, J. Chem. Theory Comput. 16, 4192 (2020). Weights are read where TorchANI keeps them and are never
fetched from the network here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.records import frozen, record_key, register

__all__ = ["ANI2X_ELEMENTS", "Ani2x", "ani2x_weights"]

ANI2X_ELEMENTS = (1, 6, 7, 8, 9, 16, 17)


@register(version=1)
@dataclass(frozen=True, eq=False)
class Ani2x:
    """ANI-2x energy of a neutral molecule in the gas phase, as the baseline a network corrects.

    ``numbers`` atomic numbers in the order of the labels; ``weights`` sha256 of the file with the weights,
    hexadecimal: a potential trained on one set of weights is not evaluated on another.
    """

    numbers: NDArray[np.int64]
    weights: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", frozen(self.numbers, np.int64))
        strange = sorted(set(self.numbers.tolist()) - set(ANI2X_ELEMENTS))
        if strange:
            raise InputError(
                f"ANI-2x does not know the elements with the atomic numbers {strange}",
                remedy="it knows H, C, N, O, F, S and Cl: take LigandForceField for this molecule",
            )

    @classmethod
    def of_atoms(cls, numbers: Sequence[int] | NDArray[np.int64]) -> "Ani2x":
        """Baseline for these atoms with the weights on this machine.

        Raises
        ------
        InputError
            If an element is not known to ANI-2x, or the weights are not on this machine.
        """
        return cls(np.asarray(numbers), _digest(ani2x_weights()))

    @property
    def n_atoms(self) -> int:
        """Number of atoms of the molecule."""
        return len(self.numbers)

    @property
    def key(self) -> str:
        """Content name."""
        return record_key(self)

    def file(self) -> Path:
        """File with the weights, checked to be those the baseline was made with.

        Raises
        ------
        InputError
            If the weights are not there or are others.
        """
        path = ani2x_weights()
        found = _digest(path)
        if found != self.weights:
            raise InputError(
                f"the ANI-2x weights in {path} are not those of this baseline: sha256 {found[:12]}, "
                f"wanted {self.weights[:12]}",
                remedy="put the file that the potential was trained with there, or train again",
            )
        return path


def ani2x_weights() -> Path:
    """Where TorchANI keeps the weights of ANI-2x.

    Raises
    ------
    InputError
        If there is no such file. Nothing is downloaded.
    """
    from drupe.mlp.quiet_torchani import data_dir

    path = Path(data_dir()) / "StateDicts" / "ani2x_state_dict.pt"
    if not path.is_file():
        raise InputError(
            f"the weights of ANI-2x are not on this machine: there is no file {path}",
            remedy="on a machine with network, python -c 'import torchani; torchani.models.ANI2x()' "
            "fetches them; copy the file here (TORCHANI_DATA_DIR names another folder than "
            "~/.local/share/Torchani); or train without this baseline",
        )
    return path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
