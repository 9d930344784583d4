"""One frame through a stack of potentials, with forces by the short way: bohr, e in; hartree(/bohr) out.

The network depends on the QM positions, the field and the charge sums only. Autograd therefore runs over
the QM atoms, and closed forms carry the mean gradient to all MM atoms in one go.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from drupe.errors import ConvergenceError, InputError
from drupe.mlp.charge_sums import pull_back_sums, sums_at
from drupe.mlp.electrostatics import Field, field_at, pull_back
from drupe.mlp.passes import Batches, Frame, Pass, Slopes, slopes_of_members, there_and_back
from drupe.mlp.potential import Potential
from drupe.mlp.reach import Reached, fade_groups, near_groups, pull_back_weights, weighted

__all__ = ["Evaluation", "Prepared", "Scene", "evaluate", "points_of", "prepare", "threads_of_torch"]


def points_of(positions: ArrayLike) -> NDArray[np.float64]:
    """Positions as rows, ``(points, 3)``; none at all may be empty of any shape.

    Raises
    ------
    InputError
        If they are not three numbers each.
    """
    given = np.array(positions, np.float64)
    if given.size % 3:
        raise InputError(
            f"positions of shape {given.shape} are not three numbers each",
            remedy="give one row of x, y and z per point",
        )
    return given.reshape(-1, 3)


class Apart(NamedTuple):
    """Forces of each member, ``(members, atoms, 3)``, hartree/bohr.

    ``mm_charge`` ``(mm,)`` is the variance a component of the force on an MM atom would have if each QM
    charge had one of 1 e^2, all of them adding to zero.
    """

    forces_qm: NDArray[np.float64]
    forces_mm: NDArray[np.float64]
    mm_charge: NDArray[np.float64]


class Evaluation(NamedTuple):
    """Energies per member ``(members,)`` hartree, and forces of their mean, hartree/bohr.

    ``features`` ``(members, qm + links, features)`` of the atoms; ``apart`` makes the forces of each member,
    with one more run of the network and a way back for each.
    """

    energies: NDArray[np.float64]
    forces_qm: NDArray[np.float64]
    forces_mm: NDArray[np.float64]
    features: NDArray[np.float64]
    apart: Callable[[], Apart]


class Scene(NamedTuple):
    """A molecule in its surroundings.

    ``qm`` ``(qm, 3)`` and ``mm`` ``(mm, 3)`` bohr, ``charges`` ``(mm,)`` e, none or more; ``groups`` which of
    them belong together, ``(mm,)``, needed where the potential has a reach, else not used; ``border_atoms``
    rows of the border atoms in ``mm``, needed where the potential has link atoms (`drupe.mlp.border`).
    """

    qm: NDArray[np.float64]
    mm: NDArray[np.float64]
    charges: NDArray[np.float64]
    groups: NDArray[np.int64] | None = None
    border_atoms: NDArray[np.int64] | None = None


class Prepared(NamedTuple):
    """What the network is to see of a scene, and what makes the evaluation of its answer."""

    frame: Frame
    finish: Callable[[Pass], Evaluation]


def evaluate(
    run: Batches | Potential,
    qm: NDArray[np.float64],
    mm: NDArray[np.float64],
    charges: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
    border_atoms: NDArray[np.int64] | None = None,
    *,
    fixed_coulomb: bool,
) -> Evaluation:
    """Evaluate one scene on one thread.

    Parameters
    ----------
    run
        Potentials stacked in one module; as `Batches` where many frames are to come.
    qm, mm, charges, groups, border_atoms
        Fields of a `Scene`.
    fixed_coulomb
        As for `prepare`, which says what is raised.
    """
    scene = Scene(qm, mm, charges, groups, border_atoms)
    with threads_of_torch(1):  # more threads are slower for molecules of this size
        if isinstance(run, Potential):
            frame, finish = prepare(run, scene, fixed_coulomb=fixed_coulomb)
            return finish(there_and_back(run, frame))
        frame, finish = prepare(run.stack, scene, fixed_coulomb=fixed_coulomb)
        return finish(run([frame])[0])


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """Let torch use so many threads meanwhile."""
    before = torch.get_num_threads()
    if before != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if before != count:
            torch.set_num_threads(before)


def prepare(stack: Potential, scene: Scene, *, fixed_coulomb: bool) -> Prepared:
    """Do all but the network's part of an evaluation.

    Parameters
    ----------
    stack
        Potentials stacked in one module.
    scene
        The molecule and what surrounds it.
    fixed_coulomb
        True for the label's quantity; False leaves out the energy zero and the Coulomb energy of all pairs
        of fixed charges of ``qm`` and ``charges``, as needed where another program computes it. What the
        border adds to or takes from ``charges`` acts on the fixed charges either way.

    Raises
    ------
    InputError
        If shapes do not fit the potential.
    ConvergenceError
        By what finishes: if an energy or a force is not finite.
    """
    qm, mm, charges, groups, border_atoms = scene
    if qm.shape != (len(stack.header.numbers), 3) or charges.ndim != 1 or mm.shape != (len(charges), 3):
        raise InputError(
            f"positions of shape {qm.shape} and {mm.shape} with charges of shape {charges.shape} do not fit "
            f"a potential of {len(stack.header.numbers)} atoms",
            remedy="pass the atoms the potential was trained on, and one row of charges, one per MM atom",
        )
    if stack.header.reach and (len(charges) if groups is None else len(groups) != len(charges)):
        raise InputError(
            f"the potential has a reach of {stack.header.reach:g} bohr for whole groups, and there are "
            f"{'no' if groups is None else len(groups)} group numbers for {len(charges)} charges",
            remedy="pass mm_groups, one number per MM atom: its residue",
        )
    border = stack.header.border
    if border is not None and border_atoms is None:
        raise InputError(
            f"the potential has {border.in_words}, and nobody says which MM atoms its border atoms are",
            remedy="pass border_atoms, their rows among the MM atoms: Dataset.frame(i) has them",
        )
    prepared = _with_border(stack, scene, fixed_coulomb)

    def finish(made: Pass) -> Evaluation:
        found = prepared.finish(made)
        if not all(np.isfinite(part).all() for part in (found.energies, found.forces_qm, found.forces_mm)):
            raise ConvergenceError(
                "the learned potential returned an energy or force that is not finite",
                remedy="atoms lie on top of each other or positions are NaN: shorten the step or relax first",
            )
        return found

    return Prepared(prepared.frame, finish)


class _Felt:
    """The damped field of the charges that the learned terms feel, and the way back to all positions."""

    def __init__(
        self,
        stack: Potential,
        inner: Tensor,
        outer: Tensor,
        charges: Tensor,
        groups: NDArray[np.int64] | None,
    ) -> None:
        reach = stack.header.reach
        self.inner, self.count = inner, len(outer)
        self.chosen: Tensor | None = None
        self.reached: Reached | None = None
        if reach == 0:
            self.chosen = torch.zeros(0, dtype=torch.int64)
            outer, charges = outer[:0], charges[:0]
        elif reach is not None and groups is not None:
            chosen, group = near_groups(inner.numpy(), outer.numpy(), charges.numpy(), groups, reach)
            self.chosen = torch.from_numpy(chosen)
            outer, charges = outer[self.chosen], charges[self.chosen]
            self.reached = fade_groups(inner, outer, torch.from_numpy(group), reach)
        self.outer = outer
        self.plain = field_at(inner, outer, charges, stack.header.damping)
        self.made: Field = self.plain
        if self.reached is not None:
            self.made = weighted(self.plain, inner, outer, self.reached.per_charge)

    def pull_back(self, on_potential: Tensor, on_field: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient with respect to QM atoms and all charges; see `drupe.mlp.electrostatics.pull_back`."""
        to_qm, to_mm = pull_back(self.inner, self.outer, self.made, on_potential, on_field)
        if self.reached is not None:
            more_qm, more_mm = pull_back_weights(
                self.inner, self.outer, self.plain, self.reached, on_potential, on_field
            )
            to_qm, to_mm = to_qm + more_qm, to_mm + more_mm
        if self.chosen is None:
            return to_qm, to_mm
        everywhere = to_mm.new_zeros(self.count, 3)
        everywhere[self.chosen] = to_mm
        return to_qm, everywhere

    def charge_noise(self) -> Tensor:
        """See `Apart`; zero for charges that are not felt."""
        # Force on charge j from charge c_i: c_i k_ij. Charges that add to zero lose the mean of k.
        apart = self.inner[:, None] - self.outer
        square = (self.made.slope**2 * (apart**2).sum(-1)).sum(0)
        mean = (self.made.slope[..., None] * apart).mean(0)
        found = ((square - len(self.inner) * (mean**2).sum(-1)) / 3).clamp(min=0)
        if self.chosen is None:
            return found
        everywhere = found.new_zeros(self.count)
        everywhere[self.chosen] = found
        return everywhere


def _with_border(stack: Potential, scene: Scene, fixed_coulomb: bool) -> Prepared:
    """Put link atoms and moved charges in, and bring their forces back to atoms."""
    border, (qm, mm, charges, groups, border_atoms) = stack.header.border, scene
    zero = stack.header.energy_zero if fixed_coulomb else 0.0
    if border is None or border_atoms is None:
        return _prepare(stack, scene, charges if fixed_coulomb else None, zero)
    capped = border.cap(qm, mm, charges, groups, border_atoms)
    inside = _prepare(
        stack,
        Scene(capped.positions, capped.points, capped.charges, capped.groups),
        capped.charges if fixed_coulomb else capped.moved,
        zero,
    )

    def finish(answer: Pass) -> Evaluation:
        made = inside.finish(answer)

        def apart() -> Apart:
            each = made.apart()
            found = [capped.scatter(*one) for one in zip(each.forces_qm, each.forces_mm, strict=True)]
            return Apart(
                np.array([on_qm for on_qm, _ in found]),
                np.array([on_mm for _, on_mm in found]),
                capped.spread_variance(each.mm_charge),
            )

        forces_qm, forces_mm = capped.scatter(made.forces_qm, made.forces_mm)
        return made._replace(forces_qm=forces_qm, forces_mm=forces_mm, apart=apart)

    return Prepared(inside.frame, finish)


def _prepare(
    stack: Potential, scene: Scene, bare_charges: NDArray[np.float64] | None, zero: float
) -> Prepared:
    qm, mm, charges, groups, _ = scene
    # Distances are formed from squares, so the origin is put among the QM atoms.
    origin = qm.mean(axis=0)
    inner, outer = torch.from_numpy(qm - origin), torch.from_numpy(mm - origin)
    values = torch.from_numpy(np.array(charges))
    with torch.no_grad():
        felt = _Felt(stack, inner, outer, values, groups)
        short = sums_at(inner, outer, values, stack.backbone.charge_sums)
    frame = Frame(inner, felt.made.potential, felt.made.field, short.value)

    def finish(made: Pass) -> Evaluation:
        more: tuple[Tensor | float, Tensor | float] = (0.0, 0.0)
        energies = made.energies
        with torch.no_grad():
            if bare_charges is not None:
                bare = field_at(inner, outer, torch.from_numpy(np.array(bare_charges)), 0.0)
                more = pull_back(inner, outer, bare, stack.fixed_charges, torch.zeros_like(inner))
                energies = energies + zero + stack.fixed_charges @ bare.potential

        def forces(on: Slopes, shift: Tensor) -> tuple[Tensor, Tensor]:
            """Forces on QM atoms and all charges from the slopes of one energy."""
            with torch.no_grad():
                to_qm, to_mm = felt.pull_back(shift, on.field)
                short_qm, short_mm = pull_back_sums(short, on.sums, len(outer))
                return -(to_qm + on.positions + short_qm + more[0]), -(to_mm + short_mm + more[1])

        def apart() -> Apart:
            shifts, slopes = slopes_of_members(stack, frame)
            each = [forces(on, shift) for shift, on in zip(shifts, slopes, strict=True)]
            return Apart(
                torch.stack([on_qm for on_qm, _ in each]).numpy(),
                torch.stack([on_mm for _, on_mm in each]).numpy(),
                felt.charge_noise().numpy(),
            )

        on_qm, on_mm = forces(made.slopes, made.shift.mean(0))
        return Evaluation(energies.numpy(), on_qm.numpy(), on_mm.numpy(), made.features.numpy(), apart)

    return Prepared(frame, finish)
