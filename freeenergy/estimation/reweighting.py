"""What the choice of the potential does to a free energy: reduced energy differences in, an error in kT out.

Each member of a committee is one potential that the labels allow. Frames of the committee's mean
are reweighted to each member; the spread of the free energies over the members is the model error.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.errors import InputError
from drupe.freeenergy.estimation.bennett import one_sided
from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.records import frozen, register

__all__ = ["ModelError", "model_error"]

_least_size = 5.0


@register(version=1)
@dataclass(frozen=True, eq=False)
class ModelError:
    """Free energy of every member relative to the committee's mean, and their spread.

    ==============  ===============  ==================================================
    field           shape            meaning
    ==============  ===============  ==================================================
    members         ``(members,)``   -ln <exp(-(u_m - u_mean))>, kT; a difference of two
                                     legs where both were given
    effective_size  ``(members,)``   Kish's effective number of frames (smaller leg)
    error           scalar           standard deviation over members, kT; None for one
    verdict         --               WARN when fewer than 5 frames carry a member; FAIL when two
                                     members are one potential
    ==============  ===============  ==================================================
    """

    members: NDArray[np.float64]
    effective_size: NDArray[np.float64]
    error: float | None
    verdict: Verdict

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", frozen(self.members, np.float64))
        object.__setattr__(self, "effective_size", frozen(self.effective_size, np.float64))


def model_error(complex_leg: ArrayLike, solvent_leg: ArrayLike | None = None) -> ModelError:
    """Spread of a free energy over the members of a committee, by reweighting end-state frames.

    Parameters
    ----------
    complex_leg
        (u_m - u_mean) at frames sampled with the mean, shape ``(members, frames)``, kT.
    solvent_leg
        The same in the other leg, same members in the same order: an offset of one member cancels
        between the legs, so the spread is taken of complex - solvent.

    Raises
    ------
    InputError
        If shapes disagree, there is no frame, or an energy is not finite.
    """
    legs = [_checked(complex_leg, "complex")]
    if solvent_leg is not None:
        legs.append(_checked(solvent_leg, "solvent"))
        if len(legs[0]) != len(legs[1]):
            raise InputError(
                f"the complex has {len(legs[0])} committee members and the solvent {len(legs[1])}",
                remedy="evaluate the same committee in both legs",
            )
    reweighted = np.array([[one_sided(member) for member in leg] for leg in legs])  # (legs, members, 2)
    members = reweighted[0, :, 0] - (reweighted[1, :, 0] if len(legs) > 1 else 0.0)
    size = reweighted[:, :, 1].min(axis=0)
    if len(members) < 2:
        alone = Verdict("WARN", ("one potential only: there is no model error",))
        return ModelError(members, size, None, alone)
    same = sum(
        all(np.array_equal(leg[a], leg[b]) for leg in legs) for b in range(len(members)) for a in range(b)
    )
    if same:
        copied = Verdict("FAIL", (f"model error: {same} pairs of committee members are one potential",))
        return ModelError(members, size, float(members.std(ddof=1)) or None, copied)
    judged = Verdict("PASS")
    if size.min() < _least_size:
        judged = Verdict(
            "WARN",
            (
                f"model error: reweighting rests on {size.min():.1f} effective frames for one member, "
                f"fewer than {_least_size:g}",
            ),
        )
    return ModelError(members, size, float(members.std(ddof=1)), judged)


def _checked(differences: ArrayLike, leg: str) -> NDArray[np.float64]:
    array = np.asarray(differences, np.float64)
    if array.ndim != 2 or array.size == 0:
        raise InputError(
            f"the {leg} committee differences have shape {array.shape}",
            remedy="pass an array of shape (members, frames) with at least one of each, in kT",
        )
    if not np.isfinite(array).all():
        member, frame = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(
            f"member {member} has no finite energy at {leg} frame {frame}",
            remedy="leave out frames on which the potential fails, and count them as failures",
        )
    return array
