"""Several potentials as one: mean, spread, calibration and the model file (hartree, bohr, e)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.files import write_whole
from drupe.mlp.dataset import Dataset
from drupe.mlp.evaluation import Evaluation, evaluate
from drupe.mlp.fitted import Fitted
from drupe.mlp.potential import Potential, PotentialHeader, StoredPotential
from drupe.records import frozen, pack, record_key, register, unpack

__all__ = ["Committee", "Prediction", "load"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The label's quantity for one frame.

    ``energy`` committee mean, hartree; ``forces_qm`` ``(qm, 3)`` and ``forces_mm`` ``(mm, 3)`` of the
    mean, hartree/bohr; ``energy_sigma`` calibrated standard error of ``energy``, hartree (nan for a
    single member); ``member_energies`` ``(members,)``, hartree.
    """

    energy: float
    forces_qm: NDArray[np.float64]
    forces_mm: NDArray[np.float64]
    energy_sigma: float
    member_energies: NDArray[np.float64]


@register(version=1)
@dataclass(frozen=True, eq=False)
class Committee:
    """Potentials with one header, evaluated as one.

    ``members`` the stored potentials; ``sigma_factor`` what the spread of the members is multiplied
    with to give errors of the size seen on held-out labels; ``calibration_frames`` how many such
    labels there were (0: not calibrated, the factor is 1).
    """

    members: tuple[StoredPotential, ...]
    sigma_factor: float = 1.0
    calibration_frames: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        if not self.members or len({member.header.key for member in self.members}) != 1:
            raise InputError(
                f"{len(self.members)} potentials do not make one committee: their headers differ",
                remedy="combine members fitted with one data set, specification and baseline",
            )

    @classmethod
    def from_fits(cls, fits: Sequence[Fitted], dataset: Dataset) -> "Committee":
        """Combine fitted members and calibrate their spread on the frames each did not see.

        Parameters
        ----------
        fits
            The members.
        dataset
            The data set they were fitted to.
        """
        plain = cls(tuple(fit.stored for fit in sorted(fits, key=lambda fit: fit.member)))
        frames = sorted({int(i) for fit in fits for i in fit.held_out})
        if len(fits) < 2 or not frames:
            return plain
        spread = {i: _spread(plain.evaluate(*dataset.frame(i), fixed_coulomb=True).energies) for i in frames}
        pairs = np.array(
            [
                (error, spread[int(i)])
                for fit in fits
                for i, error in zip(fit.held_out, fit.held_out_error, strict=True)
                if np.isfinite(error)
            ]
        ).reshape(-1, 2)
        if not len(pairs) or not (pairs[:, 1] ** 2).sum() > 0:
            return plain
        ratio = float(np.sqrt((pairs[:, 0] ** 2).mean() / (pairs[:, 1] ** 2).mean()))
        # The spread alone is never shrunk: held-out frames are few, too small an error would be a claim.
        return cls(plain.members, max(1.0, ratio), len(pairs))

    @property
    def header(self) -> PotentialHeader:
        """What the members share: elements, level, scales, baseline."""
        return self.members[0].header

    @property
    def key(self) -> str:
        """Content name."""
        return record_key(self)

    def __repr__(self) -> str:
        """Say in words what this is."""
        name, atoms = self.header.backbone, len(self.header.numbers)
        told = f"spread times {self.sigma_factor:.2f} from {self.calibration_frames} held-out errors"
        return (
            f"<Committee of {len(self.members)} for {atoms} atoms, {name}; "
            f"{told if self.calibration_frames else 'spread not calibrated'}; {self.header.electrostatics}>"
        )

    @cached_property
    def stack(self) -> Potential:
        """All members in one module."""
        return Potential.from_stored(self.members)

    def evaluate(
        self,
        qm: NDArray[np.float64],
        mm: NDArray[np.float64],
        charges: NDArray[np.float64],
        groups: NDArray[np.int64] | None = None,
        *,
        fixed_coulomb: bool,
    ) -> Evaluation:
        """Evaluate one frame; see `drupe.mlp.evaluation.evaluate`."""
        return evaluate(self.stack, qm, mm, charges, groups, fixed_coulomb=fixed_coulomb)

    def predict(
        self,
        qm_positions: NDArray[np.float64],
        mm_positions: NDArray[np.float64],
        mm_charges: NDArray[np.float64],
        mm_groups: NDArray[np.int64] | None = None,
    ) -> Prediction:
        """Predict the label's quantity for one frame.

        Parameters
        ----------
        qm_positions, mm_positions
            Shapes ``(qm, 3)`` and ``(mm, 3)``, bohr; no MM atoms is an array of shape ``(0, 3)``.
        mm_charges
            Shape ``(mm,)``, e.
        mm_groups
            Residue of each MM atom, whole numbers, ``(mm,)``; needed where the potential has a reach.
        """
        made = self.evaluate(
            np.asarray(qm_positions, np.float64),
            np.asarray(mm_positions, np.float64).reshape(-1, 3),
            np.asarray(mm_charges, np.float64),
            None if mm_groups is None else np.asarray(mm_groups, np.int64),
            fixed_coulomb=True,
        )
        return Prediction(
            energy=float(made.energies.mean()),
            forces_qm=frozen(made.forces_qm, np.float64),
            forces_mm=frozen(made.forces_mm, np.float64),
            energy_sigma=self.sigma_factor * _spread(made.energies),
            member_energies=frozen(made.energies, np.float64),
        )

    def predict_all(self, dataset: Dataset) -> tuple[Prediction, ...]:
        """Predict every frame of a data set, for parity plots."""
        return tuple(self.predict(*dataset.frame(i)) for i in range(dataset.n_frames))

    def to_bytes(self) -> bytes:
        """Write to bytes: safetensors with a JSON header, the same bytes for the same committee."""
        return pack(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Committee":
        """Read what `to_bytes` wrote.

        Raises
        ------
        InputError
            If the bytes are damaged, are something else, or are of a newer version or other units.
        """
        found = unpack(data)
        if not isinstance(found, Committee):
            raise InputError(
                f"the stored record is a {type(found).__name__}, not a committee of potentials",
                remedy="give the model file written by committee.save",
            )
        return found

    def save(self, path: str | Path) -> None:
        """Write the model file, whole or not at all."""
        target = Path(path)
        if not target.parent.is_dir():
            raise InputError(f"there is no folder {target.parent}", remedy="make the folder first")
        write_whole(target, self.to_bytes())


def load(path: str | Path) -> Committee:
    """Read a model file written by `Committee.save`.

    Raises
    ------
    InputError
        If the file is missing or damaged, or is of a newer version or other units.
    """
    target = Path(path)
    if not target.is_file():
        raise InputError(
            f"there is no model file {target}", remedy="check the path, or train and save a model"
        )
    return Committee.from_bytes(target.read_bytes())


def _spread(energies: NDArray[np.float64]) -> float:
    """Take the standard deviation over members; nan when there is one member only."""
    return float(np.std(energies, ddof=1)) if len(energies) > 1 else float("nan")
