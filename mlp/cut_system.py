"""Mixed systems whose ML atoms are cut out of a molecule: an OpenMM System in, another out (nm, kJ/mol, e).

OpenMM-ML's own surgery (bonded terms by `removeBonds`) with three differences:

* No virtual sites. The potential places its link atoms itself, by the rule of its labels: positions,
  topology, reporters and implicit solvent stay those of the MM system.
* The force field excludes or scales Coulomb pairs up to three bonds apart, also across the border. In a label
  all charges act. These pairs get their full Coulomb energy; their Lennard-Jones terms stay as they are.
* What the border scheme takes from the MM hosts and gives to their neighbours acts on the ML atoms alone: it
  is in the potential. The charges in the System stay.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from drupe.errors import InputError
from drupe.mlp.border import Border

if TYPE_CHECKING:
    import openmm
    from openmm import app

__all__ = ["Mixture", "border_particles", "mixed_across_bonds"]


class Mixture(NamedTuple):
    """What is mixed: the MM ``system`` with its ``topology``, ML ``atoms``, ``group`` of the force."""

    topology: "app.Topology"
    system: "openmm.System"
    atoms: list[int]
    group: int


class _Term(Protocol):
    def addForces(
        self, topology: "app.Topology", system: "openmm.System", atoms: list[int], forceGroup: int, **_: Any
    ) -> None: ...


def border_particles(
    border: Border | None, topology: "app.Topology", atoms: Sequence[int], cut: Sequence[tuple[int, int]]
) -> list[int]:
    """Particles that are the border atoms of a potential, in its order.

    Parameters
    ----------
    border
        Of the potential; None for one of whole molecules.
    topology
        Says who is bonded.
    atoms
        ML atoms, in the order of the potential.
    cut
        Bonds that the ML region cuts: ML atom, MM atom.

    Raises
    ------
    InputError
        If other bonds are cut than in the labels of the potential, or an MM host has other neighbours.
    """
    place = {atom: i for i, atom in enumerate(atoms)}
    pairs = sorted((place[q], m) for q, m in cut)
    wanted = [] if border is None else border.link_hosts[:, 0].tolist()
    if [q for q, _ in pairs] != wanted:
        names = [f"{_name(topology, atoms[q])}-{_name(topology, m)}" for q, m in pairs[:4]]
        raise InputError(
            f"the ML region cuts {len(pairs)} covalent bond(s) {names}; the potential was trained with "
            f"{len(wanted)} link atom(s), on the atoms {[atoms[q] for q in wanted]}",
            remedy="choose the atoms of the labels: whole molecules, or a region that Partition.select cut "
            "at the same bonds",
        )
    if border is None:
        return []
    hosts = sorted({m for _, m in pairs})
    number = {m: k for k, m in enumerate(hosts)}
    if [number[m] for _, m in pairs] != border.link_hosts[:, 1].tolist():
        raise InputError(
            f"the MM hosts {[m for _, m in pairs]} come in another order than in the labels",
            remedy="pass a topology with the atoms in the order of the labels",
        )
    found = dict(enumerate(hosts))
    near = _neighbours(topology, hosts, set(atoms) | set(hosts))
    for m in hosts:
        takers = border.takers(number[m])
        if takers and len(takers) != len(near[m]):
            raise InputError(
                f"{_name(topology, m)} at the border has {len(near[m])} MM neighbours, in the labels its "
                f"charge went to {len(takers)}",
                remedy="use the molecule of the labels, with the bonds of its topology",
            )
        found.update(zip(takers, near[m], strict=False) if takers else ())
    return [found[k] for k in range(border.n_atoms)]


def mixed_across_bonds(term: _Term, made_of: Mixture, *, interpolate: bool, **args: Any) -> "openmm.System":
    """Take the ML atoms' own terms out of an MM system and put a potential in.

    Parameters
    ----------
    term
        Adds the force of the potential.
    made_of
        System, topology and ML atoms; they are not changed.
    interpolate
        Whether a parameter ``lambda_interpolate`` leads from the MM system (0) to the mixed one (1).
    args
        Passed on to the term.

    Raises
    ------
    InputError
        If ``linkAtomDistances`` are given.
    """
    import openmm
    from openmmml.embeddings import utilities

    _refuse_distances(args)
    topology, system, atoms, group = made_of
    made = utilities.removeBonds(system, topology, atoms, True)
    for force in made.getForces():
        if isinstance(force, openmm.NonbondedForce):
            _take_pairs_out(force, atoms)
            force.setExceptionsUsePeriodicBoundaryConditions(system.usesPeriodicBoundaryConditions())
        elif isinstance(force, openmm.CustomNonbondedForce):
            utilities.addCustomNonbondedExclusions(force, atoms)
    if not interpolate:
        term.addForces(topology, made, atoms, group, **args)
        return made
    helper = utilities.InterpolationHelper()
    helper.addMLPotentialTerms(term, topology, atoms, group, **args)
    helper.addMMBondedTerms(system, topology, atoms)
    helper.setupNonbonded(made, system)
    helper.setupInterpolation(made)
    return made


def _take_pairs_out(force: "openmm.NonbondedForce", atoms: Sequence[int]) -> None:
    """No energy between two ML atoms, full Coulomb energy between an ML atom and any other."""
    inside = set(atoms)
    for index in range(force.getNumExceptions()):
        i, j, _, sigma, epsilon = force.getExceptionParameters(index)
        if (i in inside) != (j in inside):
            charges = [force.getParticleParameters(k)[0] for k in (i, j)]
            force.setExceptionParameters(index, i, j, charges[0] * charges[1], sigma, epsilon)
    for k, i in enumerate(atoms):
        for j in atoms[:k]:
            force.addException(i, j, 0.0, 1.0, 0.0, True)


def _neighbours(topology: "app.Topology", hosts: Sequence[int], without: set[int]) -> Mapping[int, list[int]]:
    """Atoms with an element that are bonded to each host, rising."""
    found: dict[int, set[int]] = {m: set() for m in hosts}
    for bond in topology.bonds():
        for one, other in ((bond.atom1, bond.atom2), (bond.atom2, bond.atom1)):
            if one.index in found and other.index not in without and other.element is not None:
                found[one.index].add(other.index)
    return {m: sorted(near) for m, near in found.items()}


def _refuse_distances(args: Mapping[str, Any]) -> None:
    if args.get("linkAtomDistances"):
        raise InputError(
            "linkAtomDistances were given for a potential with link atoms",
            remedy="leave them out: link atoms stand where they stood in the labels",
        )


def _name(topology: "app.Topology", index: int) -> str:
    atom = list(topology.atoms())[index]
    return f"{atom.name} of {atom.residue.name}{atom.residue.id} (atom {index})"
