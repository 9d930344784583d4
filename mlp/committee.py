"""Several potentials as one: mean, spread, calibration and the model file (hartree, bohr, e)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.files import write_whole
from drupe.mlp.calibration import Calibration, Uncertainty, calibrate
from drupe.mlp.committee_versions import UPGRADES
from drupe.mlp.dataset import Dataset
from drupe.mlp.dispersion import check_dispersion_of
from drupe.mlp.evaluation import Evaluation, evaluate, points_of
from drupe.mlp.fingerprints import PRINTS, known_frames
from drupe.mlp.fitted import Fitted
from drupe.mlp.misses import Judged, held_out_misses, unseen_misses
from drupe.mlp.novelty import Novelty, refer
from drupe.mlp.passes import Batches, Precision
from drupe.mlp.potential import Potential, PotentialHeader, StoredPotential
from drupe.mlp.prediction import Prediction
from drupe.mlp.same_molecule import check_molecule
from drupe.mlp.seal import check_seal, seal
from drupe.mlp.whole_numbers import whole_numbers
from drupe.records import frozen, pack, record_key, register, unpack

__all__ = ["Committee", "load"]

_log = logging.getLogger(__name__)

_SEALED = 4  # version from which on model files carry a hash


@register(version=5, upgrades=UPGRADES)
@dataclass(frozen=True, eq=False)
class Committee:
    """Potentials with one header, evaluated as one.

    ``members`` the stored potentials; ``calibration`` what makes standard errors of the spread of the members
    and of the features of atoms; without calibration labels the spread alone is shown;
    ``novelty`` what tells how far a frame is from the training set, None where nothing was kept of it;
    ``seen`` fingerprints of all frames the members were fitted to or held out, ``(frames, 6)``
    (`drupe.mlp.fingerprints`), empty where they were not kept; ``zeros`` how far the mean energy of each
    member over the training set lies above that of all, ``(members,)``, hartree: the spread of energies is
    counted from there. A constant moves nothing, and it is what noise in the labels' energies moves most.
    """

    members: tuple[StoredPotential, ...]
    calibration: Calibration = field(default_factory=Calibration)
    novelty: Novelty | None = None
    seen: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, PRINTS)))
    zeros: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        object.__setattr__(self, "seen", frozen(self.seen, np.float64))
        if self.zeros is not None:
            object.__setattr__(self, "zeros", frozen(self.zeros, np.float64))
            if self.zeros.shape != (len(self.members),):
                raise InputError(
                    f"{len(self.members)} potentials, and zeros of the shape {self.zeros.shape}",
                    remedy="make the record anew: Committee(members).referred_to(dataset)",
                )
        if not isinstance(self.calibration, Calibration):
            raise InputError(
                f"the calibration is a {type(self.calibration).__name__}",
                remedy="leave it out, or calibrate again",
            )
        if not self.members or len({member.header.key for member in self.members}) != 1:
            raise InputError(
                f"{len(self.members)} potentials do not make one committee: their headers differ",
                remedy="combine members fitted with one data set, specification and baseline",
            )
        if self.novelty is not None and self.novelty.members != len(self.members):
            raise InputError(
                f"{len(self.members)} potentials, and {self.novelty.members} that know their training set",
                remedy="make the record anew: Committee(members).referred_to(dataset)",
            )

    @classmethod
    def from_fits(cls, fits: Sequence[Fitted], dataset: Dataset) -> "Committee":
        """Combine fitted members, calibrate them on the frames each did not see, remember the training set.

        Parameters
        ----------
        fits
            The members.
        dataset
            The data set they were fitted to.
        """
        members = sorted(fits, key=lambda fit: fit.member)
        unseen = [fit.held_out for fit in members]
        plain = cls(tuple(fit.stored for fit in members)).referred_to(dataset, unseen)
        if len(members) < 2 or not any(len(fit.held_out) for fit in members):
            return plain
        return replace(plain, calibration=calibrate(held_out_misses(plain._judged, members, dataset)))

    def referred_to(self, dataset: Dataset, held_out: Sequence[NDArray[np.int64]] = ()) -> "Committee":
        """Compare frames with ``dataset`` from now on, and the members' energies from their means over it.

        See `drupe.mlp.novelty.refer`.

        Parameters
        ----------
        dataset
            What the members were trained on.
        held_out
            Frames that each member did not see, one array of indices per member; empty for none.
        """
        check_molecule(self.header, dataset)
        features, energies = [], []
        for i in range(dataset.n_frames):
            made = evaluate(self.stack, *dataset.frame(i), fixed_coulomb=True)
            features.append(made.features)
            energies.append(made.energies)
        means = np.mean(energies, axis=0)
        return replace(
            self.having_seen(dataset),
            novelty=refer(np.array(features), dataset, held_out),
            zeros=means - means.mean(),
        )

    def having_seen(self, dataset: Dataset) -> "Committee":
        """Remember that these frames were part of a fit: `calibrated` refuses them from now on."""
        prints = dataset.prints
        new = np.delete(prints, known_frames(prints, self.seen), axis=0)
        return replace(self, seen=np.concatenate([self.seen, new]))

    def calibrated(self, dataset: Dataset) -> "Committee":
        """Calibrate on labels that no member saw; intervals then hold for further labels of that kind.

        Parameters
        ----------
        dataset
            Labels of blocks that were in no fit (`Dataset.split`), nineteen frames or more.

        Raises
        ------
        InputError
            If there is one member only, no noise was fitted because no member held anything out, or some of
            the labels are of frames that were part of a fit, also turned, moved or rounded, or of another
            molecule or level.
        """
        check_molecule(self.header, dataset)
        if dataset.level != self.header.level:
            raise InputError(
                f"the labels are of the level {dataset.level}, the potential of {self.header.level}",
                remedy="calibrate on labels of the level the potential was trained on",
            )
        noise = self.calibration.noise
        if len(self.members) < 2 or noise is None:
            raise InputError(
                f"a committee of {len(self.members)} without held-out labels has no noise to scale",
                remedy="train two members or more, best four, on labels in three blocks or more: each member "
                "holds one out",
            )
        if not len(self.seen):
            _log.warning(
                "the model does not know its training set: that the labels are unseen is not checked"
            )
        elif len(known := known_frames(dataset.prints, self.seen)):
            raise InputError(
                f"{len(known)} of {dataset.n_frames} labels are of frames that were part of a fit, the first "
                f"is label {known[0]}",
                remedy="calibrate on labels that no member saw: keep blocks out of training (Dataset.split)",
            )
        return replace(self, calibration=calibrate(unseen_misses(self._judged, dataset), noise))

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what is stored, not what was made of it: a frozen graph cannot be pickled."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def header(self) -> PotentialHeader:
        """What the members share: elements, level, scales, baseline."""
        return self.members[0].header

    @property
    def sigma_factor(self) -> float:
        """What the spread of the members' energies is multiplied with."""
        return self.calibration.energy.epistemic

    @property
    def calibration_frames(self) -> int:
        """How many held-out energies that is from; 0: not calibrated."""
        return self.calibration.energy.frames

    @property
    def key(self) -> str:
        """Content name."""
        return record_key(self)

    def __repr__(self) -> str:
        """Say in words what this is."""
        name, atoms = self.header.backbone, f"{len(self.header.numbers)} atoms"
        if self.header.readout != "classical":
            name += f" with a {self.header.readout} readout"
        if self.header.n_links:
            atoms += f" and {self.header.n_links} link atom(s)"
        told = (
            f"spread times {self.sigma_factor:.2f} and noise from {self.calibration_frames} held-out errors"
        )
        known = "not recorded" if self.novelty is None else f"of {self.novelty.frames} frames"
        return (
            f"<Committee of {len(self.members)} for {atoms}, {name}; training set {known}; "
            f"{told if self.calibration_frames else 'spread not calibrated'}; "
            f"{self.header.electrostatics}{self.header.dispersion_told}{self.header.energies_told}>"
        )

    @cached_property
    def stack(self) -> Potential:
        """All members in one module, whose weights do not change any more."""
        return Potential.from_stored(self.members).hold()

    @property
    def _judged(self) -> Judged:
        """The members with the zeros that their energies are compared from."""
        return Judged(self.stack, np.zeros(len(self.members)) if self.zeros is None else self.zeros)

    @cached_property
    def _networks(self) -> dict[tuple[int, Precision], Batches]:
        return {}

    def network(self, size: int = 1, precision: Precision = "double") -> Batches:
        """The network over ``size`` frames at once, always the same one: it may have been frozen by now."""
        stack = self.stack if precision == "double" else self._rounded
        return self._networks.setdefault((size, precision), Batches(stack, size))

    @cached_property
    def _rounded(self) -> Potential:
        return Potential.from_stored(self.members).hold().in_single_precision()

    def evaluate(
        self,
        qm: NDArray[np.float64],
        mm: NDArray[np.float64],
        charges: NDArray[np.float64],
        groups: NDArray[np.int64] | None = None,
        border_atoms: NDArray[np.int64] | None = None,
        *,
        fixed_coulomb: bool,
        precision: Precision = "double",
    ) -> Evaluation:
        """Evaluate one frame; see `drupe.mlp.evaluation.evaluate`."""
        run = self.network(precision=precision)
        return evaluate(run, qm, mm, charges, groups, border_atoms, fixed_coulomb=fixed_coulomb)

    def energy_error(self, made: Evaluation) -> Uncertainty:
        """Standard errors of the mean energy of an evaluation, hartree; nan where energies mean nothing."""
        if self.header.energies == "none":
            return Uncertainty(*(np.array(np.nan) for _ in range(3)))
        noise = self.calibration.noise
        return self.calibration.energy.of(
            _variance(made.energies - self._judged.zeros),
            np.zeros(()) if noise is None else noise.of_energy(made.features[None])[0],
        )

    def novelty_of(self, made: Evaluation) -> float:
        """Distance of an evaluated frame from the training set; see `Prediction`."""
        return float("nan") if self.novelty is None else self.novelty.of(made.features)

    def force_errors(self, made: Evaluation) -> tuple[Uncertainty, Uncertainty]:
        """Standard errors of a component of the force on each QM and MM atom, hartree/bohr."""
        apart = made.apart()
        spread_qm, spread_mm = (_variance(forces).mean(-1) for forces in (apart.forces_qm, apart.forces_mm))
        noise, known = self.calibration.noise, self.calibration
        if noise is None:
            on_qm, on_mm = np.zeros_like(spread_qm), np.zeros_like(spread_mm)
        else:
            on_qm = noise.of_forces(made.features[None, :, : len(made.forces_qm)])[0]
            on_mm = noise.of_mm_forces(apart.mm_charge)
        return known.forces_qm.of(spread_qm, on_qm), known.forces_mm.of(spread_mm, on_mm)

    def predict(
        self,
        qm_positions: NDArray[np.float64],
        mm_positions: NDArray[np.float64],
        mm_charges: NDArray[np.float64],
        mm_groups: NDArray[np.int64] | None = None,
        border_atoms: NDArray[np.int64] | None = None,
        *,
        force_errors: bool = False,
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
        border_atoms
            Rows of the border atoms among the MM atoms; needed where the potential has link atoms. Frames of
            a data set have them: ``predict(*dataset.frame(i))``.
        force_errors
            True also gives standard errors of forces: the way back through the network is then gone once
            for each member.
        """
        made = self.evaluate(
            np.asarray(qm_positions, np.float64),
            points_of(mm_positions),
            np.asarray(mm_charges, np.float64),
            None if mm_groups is None else whole_numbers("mm_groups", mm_groups),
            None if border_atoms is None else whole_numbers("border_atoms", border_atoms),
            fixed_coulomb=True,
        )
        on_qm, on_mm = self.force_errors(made) if force_errors else (None, None)
        return Prediction(
            energy=float(made.energies.mean()),
            forces_qm=frozen(made.forces_qm, np.float64),
            forces_mm=frozen(made.forces_mm, np.float64),
            member_energies=frozen(made.energies, np.float64),
            energy_error=self.energy_error(made),
            forces_qm_error=on_qm,
            forces_mm_error=on_mm,
            novelty=self.novelty_of(made),
            energies=self.header.energies,
        )

    def predict_all(self, dataset: Dataset, *, force_errors: bool = False) -> tuple[Prediction, ...]:
        """Predict every frame of a data set, for parity plots.

        Raises
        ------
        InputError
            If the labels are of another molecule, or do not hold the dispersion that is a term of the
            potential.
        """
        check_molecule(self.header, dataset)
        check_dispersion_of(self.header.dispersion, dataset)
        frames = (dataset.frame(i) for i in range(dataset.n_frames))
        return tuple(self.predict(*frame, force_errors=force_errors) for frame in frames)

    def to_bytes(self) -> bytes:
        """Write to bytes: safetensors with JSON header and hash, the same bytes for the same committee."""
        return seal(pack(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Committee":
        """Read what `to_bytes` wrote.

        Raises
        ------
        InputError
            If the bytes are damaged, edited, something else, or of a newer version or other units.
        """
        check_seal(data, "Committee", since=_SEALED)
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
        If the file is missing, damaged or edited, or is of a newer version or other units.
    """
    target = Path(path)
    if not target.is_file():
        raise InputError(
            f"there is no model file {target}", remedy="check the path, or train and save a model"
        )
    return Committee.from_bytes(target.read_bytes())


def _variance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance over members, the first axis; nan when there is one member only."""
    return np.var(values, axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)
