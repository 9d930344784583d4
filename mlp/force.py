"""Door to OpenMM's PythonForce: a committee as a callable that pickles (nm, kJ/mol outside).

The value is the label's energy without its fixed-charge Coulomb part and without the energy zero: that
part of the interaction stays in OpenMM's own forces, the zero is the same in every leg. In a periodic system
the box is read from the State at every call: a barostat changes it.
"""

import threading
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from drupe.mlp.committee import Committee
from drupe.mlp.evaluation import Evaluation
from drupe.mlp.images import Images
from drupe.mlp.passes import Runs
from drupe.records import content_key, frozen
from drupe.units import kj_per_mol, nanometer

if TYPE_CHECKING:
    import openmm

__all__ = ["Asked", "LearnedForce", "Memory", "learned_forces"]


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


class Memory:
    """What all copies of one force in this process share: the potential, and the last question `asked`.

    One question is remembered, or the last ``rooms``: as many as there are contexts that ask in turn.
    ``run`` is where the network runs, None for the committee's own (`drupe.mlp.meeting`).
    """

    def __init__(self, committee: Committee) -> None:
        self.committee = committee
        self.asked: Asked | None = None
        self.rooms = 1
        self.run: Runs | None = None
        self._known: dict[bytes, Asked] = {}
        self._turn = threading.Lock()

    @property
    def n_atoms(self) -> int:
        """How many ML atoms it has; they come first among the particles of its force."""
        return len(self.committee.header.numbers)

    def find(self, seen: bytes) -> Asked | None:
        """The answer to this question, if it is remembered."""
        with self._turn:
            found = self._known.get(seen)
            if found is not None:
                self.asked = found
            return found

    def keep(self, asked: Asked) -> None:
        """Remember an answer, and forget the oldest ones."""
        with self._turn:
            self._known[asked.seen] = self.asked = asked
            while len(self._known) > self.rooms:
                del self._known[next(iter(self._known))]


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
    """

    def __init__(
        self,
        committee: Committee,
        charges: NDArray[np.float64],
        groups: NDArray[np.int64] | None = None,
        tree: NDArray[np.int64] | None = None,
        border: NDArray[np.int64] | None = None,
        particles: NDArray[np.int64] | None = None,
    ) -> None:
        self._committee, self._charges = committee, frozen(charges, np.float64)
        self._groups = None if groups is None else frozen(groups, np.int64)
        self._border = None if border is None else frozen(border, np.int64)
        self._particles = None if particles is None else frozen(particles, np.int64)
        self._images: Images | None = None
        if tree is not None:
            known = np.zeros(0, np.int64) if self._groups is None else self._groups
            self._images = Images(tree, known, committee.header.reach, self._ties())
        fields = {"model": committee.key, "charges": charges, "groups": groups, "tree": tree}
        if border is not None:
            fields["border"] = border
        if self._particles is not None:
            fields["particles"] = self._particles
        #: Content name; the PythonForce that holds this has it as its name.
        self.key = content_key("LearnedForce", fields)
        self._memory = _memories.setdefault(self.key, Memory(committee))
        # OpenMM copies forces with every context: all copies run from one network, perhaps frozen by now.
        self._committee = self._memory.committee

    def __call__(self, state: "openmm.State") -> tuple[float, NDArray[np.float64]]:
        """Energy in kJ/mol and forces in kJ/mol/nm, shape ``(particles, 3)``."""
        from openmm import unit

        found = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        positions = np.ascontiguousarray(found, dtype=np.float64)
        seen, box = positions.tobytes(), None
        if self._images is not None:
            box = np.array(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer))
            seen += box.tobytes()
        known = self._memory.find(seen)
        if known is None:
            known = self._compute(seen, positions * nanometer, None if box is None else box * nanometer)
            self._memory.keep(known)
        return known.answer

    def __reduce__(self) -> tuple[object, ...]:
        groups = None if self._groups is None else np.array(self._groups)
        tree = None if self._images is None else np.array(self._images.parents)
        border = None if self._border is None else np.array(self._border)
        particles = None if self._particles is None else np.array(self._particles)
        return _rebuild, (
            self._committee.to_bytes(),
            np.array(self._charges),
            groups,
            tree,
            border,
            particles,
        )

    def _ties(self) -> NDArray[np.int64]:
        """Pairs (atom of the committee, charge) across cut bonds; none for a whole molecule."""
        border = self._committee.header.border
        if border is None or self._border is None:
            return np.zeros((0, 2), np.int64)
        return np.column_stack([border.ties[:, 0], self._border[border.ties[:, 1]]])

    def _compute(self, seen: bytes, positions: NDArray[np.float64], box: NDArray[np.float64] | None) -> Asked:
        count = len(self._committee.header.numbers)
        placed = positions
        if self._images is not None and box is not None:
            placed = self._images.place(positions, box)
        made = self._committee.evaluate(
            placed[:count],
            placed[count:],
            self._charges,
            self._groups,
            self._border,
            fixed_coulomb=False,
            run=self._memory.run,
        )
        return Asked(seen, positions, placed, box, made)


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
) -> LearnedForce:
    return LearnedForce(Committee.from_bytes(model), charges, groups, tree, border, particles)
