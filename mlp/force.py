"""Door to OpenMM's PythonForce: a committee as a callable that pickles (nm, kJ/mol outside).

The value is the label's energy without its fixed-charge Coulomb part and without the energy zero: that
part of the interaction stays in OpenMM's own forces, the zero is the same in every leg. In a periodic system
the box is read from the State at every call: a barostat changes it.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from drupe.errors import DrupeError
from drupe.mlp.committee import Committee
from drupe.mlp.evaluation import Evaluation, Scene, prepare, threads_of_torch
from drupe.mlp.images import Images
from drupe.mlp.passes import Precision
from drupe.records import content_key, frozen
from drupe.units import kj_per_mol, nanometer

if TYPE_CHECKING:
    import openmm

__all__ = ["Asked", "LearnedForce", "Memory", "Question", "learned_forces", "remembering"]

_log = logging.getLogger(__name__)


class Asked:
    """The last question and its answer, shared by all copies of one force in this process.

    OpenMM pickles the callable, and copies of a System hold copies of it: what the live one has just worked
    out is found here by anybody who holds another. ``seen`` positions and box as bytes; ``positions``
    ``(particles, 3)`` as OpenMM gave them, ``placed`` at the images that were used, both bohr.
    """

    def __init__(
        self,
        seen: bytes,
        positions: NDArray[np.float64],
        placed: NDArray[np.float64],
        box: NDArray[np.float64] | None,
        made: Evaluation,
    ) -> None:
        self.seen, self.positions, self.placed, self.box, self.made = seen, positions, placed, box, made
        forces = np.concatenate([made.forces_qm, made.forces_mm]) * (nanometer / kj_per_mol)
        self.answer = float(made.energies.mean()) / kj_per_mol, forces

    @cached_property
    def member_forces(self) -> NDArray[np.float64]:
        """Forces on the QM atoms of each member, ``(members, qm, 3)``, hartree/bohr."""
        return self.made.apart().forces_qm


class Question(NamedTuple):
    """Positions ``(particles, 3)`` and periodic box, bohr, and both in one as the bytes OpenMM gave."""

    seen: bytes
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None


class Memory:
    """What all copies of one force in this process share: the potential, and the last question `asked`.

    One question is remembered, or the last ``rooms``: as many as there are contexts that ask in turn.
    ``alone`` counts the questions that were worked out one by one.

    Parameters
    ----------
    committee, charges, groups, border, precision
        As for `LearnedForce`.
    images
        What places the atoms of a periodic system; None without a box.
    """

    def __init__(
        self,
        committee: Committee,
        charges: NDArray[np.float64],
        groups: NDArray[np.int64] | None,
        border: NDArray[np.int64] | None,
        images: Images | None,
        precision: Precision,
    ) -> None:
        self.committee, self.precision = committee, precision
        self.asked: Asked | None = None
        self.rooms, self.alone = 1, 0
        self._charges, self._groups, self._border, self._images = charges, groups, border, images
        self._known: dict[bytes, Asked] = {}
        self._turn = threading.Lock()

    @property
    def n_atoms(self) -> int:
        """How many ML atoms it has; they come first among the particles of its force."""
        return len(self.committee.header.numbers)

    def question(self, state: "openmm.State", particles: Sequence[int] | None = None) -> Question:
        """What a State asks, of its particles with these numbers or all."""
        from openmm import unit

        found = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        if particles is not None:
            found = found[list(particles)]
        positions = np.ascontiguousarray(found, dtype=np.float64)
        if self._images is None:
            return Question(positions.tobytes(), positions * nanometer, None)
        box = np.array(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer))
        return Question(positions.tobytes() + box.tobytes(), positions * nanometer, box * nanometer)

    def answer(self, question: Question) -> Asked:
        """The answer to a question, remembered or worked out."""
        with self._turn:
            found = self._known.get(question.seen)
            if found is not None:
                self.asked = found
                return found
            self.alone += 1
        scene = self._scene(question)
        made = self.committee.evaluate(*scene, fixed_coulomb=False, precision=self.precision)
        return self._keep(question, scene, made)

    def answer_together(self, questions: Sequence[Question], at_once: int, pool: Executor) -> None:
        """Work out in shared calls of the network what is not remembered, for those who ask soon.

        A question that cannot be answered is left to the one who asks it.

        Parameters
        ----------
        questions
            Of several contexts.
        at_once
            Frames in one call.
        pool
            Threads that make the calls: a frozen network runs without Python's lock.
        """
        run = self.committee.network(at_once, self.precision)
        ready = []
        with threads_of_torch(1):
            for question in questions:
                if question.seen in self._known:
                    continue
                try:
                    scene = self._scene(question)
                    ready.append((question, scene, prepare(run.stack, scene, fixed_coulomb=False)))
                except DrupeError as error:
                    _log.debug("left to the one who asks: %s", error)
            frames = [prepared.frame for _, _, prepared in ready]
            calls = [frames[k : k + at_once] for k in range(0, len(frames), at_once)]
            passes = [made for some in pool.map(run, calls) for made in some]
            for (question, scene, prepared), made in zip(ready, passes, strict=True):
                try:
                    self._keep(question, scene, prepared.finish(made))
                except DrupeError as error:
                    _log.debug("left to the one who asks: %s", error)

    def _scene(self, question: Question) -> Scene:
        placed = question.positions
        if self._images is not None and question.box is not None:
            placed = self._images.place(placed, question.box)
        return Scene(
            placed[: self.n_atoms], placed[self.n_atoms :], self._charges, self._groups, self._border
        )

    def _keep(self, question: Question, scene: Scene, made: Evaluation) -> Asked:
        """Remember an answer, and forget the oldest ones."""
        placed = np.concatenate([scene.qm, scene.mm])
        asked = Asked(question.seen, question.positions, placed, question.box, made)
        with self._turn:
            self._known[asked.seen] = self.asked = asked
            while len(self._known) > self.rooms:
                del self._known[next(iter(self._known))]
        return asked


_memories: "WeakValueDictionary[str, Memory]" = WeakValueDictionary()


class LearnedForce:
    """Energy and forces for one OpenMM State; a repeated call at the same positions and box costs nothing.

    Parameters
    ----------
    committee
        The potential.
    charges
        Charges of the particles after the committee's own atoms, shape ``(mm,)``, e.
    groups
        Residue of each of these particles, rising, ``(mm,)``; None for a potential without reach.
    tree
        In a periodic system the atom each of the committee's atoms is joined to, -1 for the first
        (`drupe.mlp.images.tree_of_bonds`); None without a box.
    border
        Which of the charges are border atoms, for a committee with link atoms (`drupe.mlp.border`).
    particles
        Of the System, ``(particles,)``: two equal molecules in one System remember their own questions.
    precision
        Of the network, ``"double"`` or ``"single"``.
    """

    def __init__(
        self,
        committee: Committee,
        charges: NDArray[np.float64],
        groups: NDArray[np.int64] | None = None,
        tree: NDArray[np.int64] | None = None,
        border: NDArray[np.int64] | None = None,
        particles: NDArray[np.int64] | None = None,
        precision: Precision = "double",
    ) -> None:
        self._charges, self._precision = frozen(charges, np.float64), precision
        self._groups = None if groups is None else frozen(groups, np.int64)
        self._border = None if border is None else frozen(border, np.int64)
        self._particles = None if particles is None else frozen(particles, np.int64)
        self._images: Images | None = None
        if tree is not None:
            known = np.zeros(0, np.int64) if self._groups is None else self._groups
            ties = _ties(committee, self._border)
            self._images = Images(tree, known, committee.header.reach, ties)
        fields = {"model": committee.key, "charges": charges, "groups": groups, "tree": tree}
        if border is not None:
            fields["border"] = border
        if self._particles is not None:
            fields["particles"] = self._particles
        if precision != "double":
            fields["precision"] = precision
        #: Content name; the PythonForce that holds this has it as its name.
        self.key = content_key("LearnedForce", fields)
        # OpenMM copies forces with every context: all copies run from one network, perhaps frozen by now.
        self._memory = _memories.setdefault(
            self.key,
            Memory(committee, self._charges, self._groups, self._border, self._images, precision),
        )

    def __call__(self, state: "openmm.State") -> tuple[float, NDArray[np.float64]]:
        """Energy in kJ/mol and forces in kJ/mol/nm, shape ``(particles, 3)``."""
        return self._memory.answer(self._memory.question(state)).answer

    def __reduce__(self) -> tuple[object, ...]:
        groups = None if self._groups is None else np.array(self._groups)
        tree = None if self._images is None else np.array(self._images.parents)
        border = None if self._border is None else np.array(self._border)
        particles = None if self._particles is None else np.array(self._particles)
        return _rebuild, (
            self._memory.committee.to_bytes(),
            np.array(self._charges),
            groups,
            tree,
            border,
            particles,
            self._precision,
        )


def _ties(committee: Committee, border: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Pairs (atom of the committee, charge) across cut bonds; none for a whole molecule."""
    known = committee.header.border
    if known is None or border is None:
        return np.zeros((0, 2), np.int64)
    return np.column_stack([known.ties[:, 0], border[known.ties[:, 1]]])


@contextmanager
def remembering(memories: Sequence[Memory], rooms: int) -> Iterator[None]:
    """Let these forces remember so many answers meanwhile."""
    before = [memory.rooms for memory in memories]
    for memory in memories:
        memory.rooms = rooms
    try:
        yield
    finally:
        for memory, count in zip(memories, before, strict=True):
            memory.rooms = count


def learned_forces(system: "openmm.System") -> "list[tuple[Memory, tuple[int, ...]]]":
    """Memories of the learned forces in a mixed system of this process, each with its particles' indices."""
    import openmm

    waiting = list(system.getForces())
    found = []
    for force in waiting:
        if isinstance(force, openmm.CustomCVForce):
            waiting += [force.getCollectiveVariable(k) for k in range(force.getNumCollectiveVariables())]
        elif isinstance(force, openmm.PythonForce) and force.getName() in _memories:
            found.append((_memories[force.getName()], tuple(force.getParticles())))
    return found


def _rebuild(
    model: bytes,
    charges: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
    tree: NDArray[np.int64] | None = None,
    border: NDArray[np.int64] | None = None,
    particles: NDArray[np.int64] | None = None,
    precision: Precision = "double",
) -> LearnedForce:
    return LearnedForce(Committee.from_bytes(model), charges, groups, tree, border, particles, precision)
