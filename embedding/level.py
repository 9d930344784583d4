"""What to compute: a level of theory in, nothing but its fields out (thresholds in hartree)."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from drupe.embedding.elementwise import PerElement, Radii, names_by_element, radii_by_element
from drupe.embedding.settings import active_space_of, counts_of_cores, occupations_of, plain_value
from drupe.errors import InputError
from drupe.records import content_key, register

__all__ = ["Level"]

#: Fields that only cores read.
_OF_CORES = (
    *(
        "virtual_shells",
        "n_virtual",
        "n_occupied",
        "cc_tolerance",
        "localization",
        "projector",
        "level_shift",
        "lno_thresholds",
    ),
    *("frozen_core", "active_space", "pair_terms", "core_growth"),
)
#: Fields that move the energy without cores, beside functional, dispersion, bases and grid.
_OF_LOW = ("boundary", "ecp", "charge_radii", "environment", "cluster_radius")
_OF_DIRECTIONS = ("n_directions", "direction_seed", "direction_step")

#: Raised by hand when the same settings would give another number.
_PHYSICS = 1

#: Fields of the first schema. Later ones enter the key only where they differ from their default, which
#: is what the first schema computed: a stored label keeps its name.
_FIRST = frozenset(
    {
        "functional",
        "basis",
        "auxbasis",
        "core",
        "virtual_shells",
        "n_occupied",
        "grid",
        "forces",
        "scf_tolerance",
        "gradient_tolerance",
        "cc_tolerance",
        "max_cycles",
        "max_memory_mb",
    }
)
_LOOSEST = 1e-4  # hartree
_LOOSEST_GRADIENT = 1e-2
_LOCALIZATIONS = ("spade", "ibo", "pipek-mezey")
_PROJECTORS = ("projected", "huzinaga", "level-shift")

_FORCES = ("low", "none", "exact", "mp2", "directional")


def _same(fields: dict[str, Any]) -> dict[str, Any]:
    """A level stored before a field existed meant that field's default."""
    return fields


@register(version=2, upgrades={1: _same})
@dataclass(frozen=True)
class Level:
    """A level of theory, complete enough to compute the number again.

    Parameters
    ----------
    functional
        Exchange-correlation functional of the QM region by PySCF's name; ``"HF"`` is Hartree-Fock.
        Mind that ``b3lyp`` and ``b3lyp5`` differ in the local correlation.
    basis
        Orbital basis of the QM region: one name, or one per element symbol, such as
        ``{"default": "def2-SVP", "Zn": "def2-TZVP"}``.
    auxbasis
        Fitting basis of the one three-index tensor that DFT and all cores share; None takes exact
        four-index integrals, for small molecules.
    core
        Solver of the quantum cores (``"MP2"``, ``"CCSD"``, ``"CCSD(T)"``, ``"FCI"``, ``"HF"``,
        ``"FNO-CCSD"`` and ``"FNO-CCSD(T)"`` in half of the virtual orbitals, ``"LNO-CCSD"`` and
        ``"LNO-CCSD(T)"`` in local natural orbitals where pyscf-forge is installed, or one that was
        registered); None computes no cores.
    virtual_shells
        Number of the last concentric shell of virtual orbitals that is kept, from 0; None keeps all.
    n_occupied
        Occupied orbitals of each core, as a number, or as a pair (alpha, beta) in an open-shell region;
        None takes each at its largest gap. Fix it for a campaign: the correction of two snapshots is
        comparable only with the same number.
    grid
        PySCF grid level, 0 to 9.
    forces
        ``"low"`` for forces of the DFT/MM energy, ``"none"`` for none; with cores also ``"exact"`` for those
        of the core-corrected energy (analytic, all virtual orbitals), ``"mp2"`` for the same with MP2 in all
        virtual orbitals in place of the cores' method, and ``"directional"`` for exact slopes of the
        core-corrected energy along random directions beside the forces of DFT/MM.
    boundary
        Where the charge of an MM atom at a cut bond goes: ``"rcd"`` (conserves charge and dipole),
        ``"rc"`` (charge) or ``"z1"`` (deleted); see `drupe.embedding.regions.boundary`.
    scf_tolerance
        Energy change in hartree that ends the SCF.
    gradient_tolerance
        Norm of the orbital gradient that ends the SCF, also of the embedded one.
    cc_tolerance
        Energy change in hartree that ends the coupled-cluster iterations.
    n_directions, direction_seed, direction_step
        For ``forces="directional"``: how many directions, the seed of their random numbers, and the
        displacement in bohr along a direction of norm 1. Only QM atoms move, and link atoms with them.
    max_cycles
        Iterations before SCF or CC counts as not converged.
    scf
        ``"diis"``, or ``"newton"`` for the second-order solver that also follows internal instabilities
        down to a stable solution: for metals and radicals where DIIS fails or ends on a saddle point.
    max_memory_mb
        Memory the engine plans with; changes no number.
    ecp
        Effective core potentials, named like ``basis``; None takes none, and refuses an element or a basis
        that needs one.
    dispersion
        ``"d3bj"`` or ``"d4"`` adds that correction with the parameters published for ``functional``
        (Grimme et al., J. Comput. Chem. 32, 1456 (2011); Caldeweyher et al., J. Chem. Phys. 150, 154122
        (2019)); None adds none.
    charge_radii
        Width R in bohr of the charges around the QM region, each a Gaussian exp(-r^2 / R^2): one number, or
        one per element symbol; None takes points.
    environment
        Which charges act: ``"all"`` of the system as it stands, ``"cluster"`` for whole molecules within
        ``cluster_radius`` of a periodic box, ``"ewald"`` for the box and all its images.
    cluster_radius
        Bohr, from the nearest QM atom; only with ``environment="cluster"``.
    localization
        How a core gets its occupied orbitals: ``"spade"``, ``"ibo"`` (intrinsic bond orbitals) or
        ``"pipek-mezey"``, the latter two by their population on the core's atoms.
    projector
        What keeps a core out of the orbitals of its surroundings: ``"projected"`` (exact),
        ``"huzinaga"``, or ``"level-shift"``.
    level_shift
        Strength mu of the level shift in hartree; its error falls as 1/mu. Other projectors ignore it, and so
        does the key of the level; settings of directions count with ``forces="directional"`` only, those of
        cores with cores only.
    n_virtual
        Virtual orbitals of each core, nearest shells first, instead of whole shells; fix it along a path
        where the size of a shell changes with the geometry.
    frozen_core
        Leave the chemical core orbitals of the core's atoms (1s of C, N, O) out of the correlation.
    active_space
        (electrons, orbitals) of CASCI and CASSCF; the electrons include all unpaired ones.
    pair_terms
        Also report how far the corrections of each two cores are from additive.
    core_growth
        Also report the MP2 correction of each core grown by its neighbours, less its own.
    lno_thresholds
        Of LNO-CCSD and LNO-CCSD(T): smallest occupations of the MP2 natural orbitals around a localised
        orbital that are kept, (of holes in the occupied, of electrons in the virtual ones).
    """

    functional: str
    basis: PerElement
    auxbasis: str | None = "def2-universal-jkfit"
    core: str | None = None
    virtual_shells: int | None = 1
    n_occupied: tuple[int | tuple[int, int], ...] | None = None
    grid: int = 3
    forces: str = "low"
    scf_tolerance: float = 1e-9
    gradient_tolerance: float = 1e-5
    cc_tolerance: float = 1e-8
    max_cycles: int = 100
    max_memory_mb: int = 2000
    boundary: str = "rcd"
    ecp: PerElement | None = None
    dispersion: str | None = None
    charge_radii: Radii | None = None
    environment: str = "all"
    cluster_radius: float | None = None
    n_directions: int = 4
    direction_seed: int = 0
    direction_step: float = 0.02
    localization: str = "spade"
    projector: str = "projected"
    level_shift: float = 1e6
    n_virtual: tuple[int | tuple[int, int], ...] | None = None
    frozen_core: bool = False
    active_space: tuple[int, int] | None = None
    pair_terms: bool = False
    core_growth: bool = False
    scf: str = "diis"
    lno_thresholds: tuple[float, float] = (1e-5, 1e-6)

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(
                self, field.name, plain_value(field.name, field.type, getattr(self, field.name))
            )
        object.__setattr__(self, "basis", names_by_element("basis", self.basis))
        if self.ecp is not None:
            object.__setattr__(self, "ecp", names_by_element("ecp", self.ecp))
        if self.charge_radii is not None:
            object.__setattr__(self, "charge_radii", radii_by_element("charge_radii", self.charge_radii))
        for name in ("n_occupied", "n_virtual"):
            object.__setattr__(self, name, counts_of_cores(name, getattr(self, name)))
        if self.active_space is not None:
            object.__setattr__(self, "active_space", active_space_of(self.active_space))
        object.__setattr__(self, "lno_thresholds", occupations_of(self.lno_thresholds))
        wrong = [
            *_wrong_cores(self),
            (self.forces not in _FORCES, f"forces={self.forces!r}", f"use one of {', '.join(_FORCES)}"),
            (self.n_directions < 1, f"n_directions={self.n_directions}", "ask for at least one direction"),
            (self.direction_seed < 0, f"direction_seed={self.direction_seed}", "give a number from 0 on"),
            (
                not 1e-4 <= self.direction_step <= 0.1,
                f"direction_step={self.direction_step}",
                "give a step between 1e-4 and 0.1 bohr",
            ),
            (
                self.boundary not in ("rcd", "rc", "z1"),
                f"boundary={self.boundary!r}",
                'use "rcd", "rc" or "z1"',
            ),
            (self.scf not in ("diis", "newton"), f"scf={self.scf!r}", 'use "diis" or "newton"'),
            (self.grid not in range(10), f"grid={self.grid}", "use a grid level from 0 to 9"),
            (
                self.virtual_shells is not None and self.virtual_shells < 0,
                f"virtual_shells={self.virtual_shells}",
                "count shells from 0, or use None for all virtual orbitals",
            ),
            (self.max_cycles < 1, f"max_cycles={self.max_cycles}", "allow at least one iteration"),
            (
                not all(0 < t <= _LOOSEST for t in (self.scf_tolerance, self.cc_tolerance))
                or not 0 < self.gradient_tolerance <= _LOOSEST_GRADIENT,
                f"scf_tolerance={self.scf_tolerance}, cc_tolerance={self.cc_tolerance}, "
                f"gradient_tolerance={self.gradient_tolerance}",
                f"give hartrees, such as 1e-9, up to {_LOOSEST}, and a gradient up to {_LOOSEST_GRADIENT}",
            ),
            (
                self.max_memory_mb < 1,
                f"max_memory_mb={self.max_memory_mb}",
                "give MB, such as 2000",
            ),
            (
                any(min(n, default=0) < 0 or sum(n) < 1 or len(n) > 2 for n in _each_spin(self.n_occupied)),
                f"n_occupied={self.n_occupied}",
                "give every core at least one occupied orbital, as a number or as a pair (alpha, beta)",
            ),
            (
                self.dispersion not in (None, "d3bj", "d4"),
                f"dispersion={self.dispersion!r}",
                'use "d3bj", "d4" or None',
            ),
            (
                self.environment not in ("all", "cluster", "ewald"),
                f"environment={self.environment!r}",
                'use "all", "cluster" or "ewald"',
            ),
            (
                (self.cluster_radius is not None) != (self.environment == "cluster"),
                f"environment={self.environment!r} with cluster_radius={self.cluster_radius}",
                'give environment="cluster" and a radius in bohr together, or neither',
            ),
            (
                self.cluster_radius is not None and not 0 < self.cluster_radius < float("inf"),
                f"cluster_radius={self.cluster_radius}",
                "give a positive radius in bohr",
            ),
        ]
        for is_wrong, found, remedy in wrong:
            if is_wrong:
                raise InputError(f"the level has {found}", remedy=remedy)

    @cached_property
    def key(self) -> str:
        """Content name of the physics: equal keys mean equal numbers up to convergence."""
        defaults = {field.name: field.default for field in fields(self)}
        given = {**self.content, "max_memory_mb": defaults["max_memory_mb"]}
        asked = {name: value for name, value in given.items() if name in _FIRST or value != defaults[name]}
        return f"{content_key('Level', {'version': 1, **asked})}-p{_PHYSICS}"

    @property
    def energy_key(self) -> str:
        """Content name of the energy: `key`, whatever forces come with it."""
        plain = {name: getattr(Level, name) for name in _OF_DIRECTIONS}
        return replace(self, forces="low", **plain).key

    @property
    def low_name(self) -> str:
        """Name of the low level in full: equal names mean equal energies without cores, up to convergence.

        Functional with dispersion, basis, fitting basis and grid; of what else moves that energy only what
        differs from the default.
        """
        functional = f"{self.functional}-{self.dispersion}" if self.dispersion else self.functional
        parts = [functional, *(str(getattr(self, name)) for name in ("basis", "auxbasis", "grid"))]
        others = ((name, getattr(self, name)) for name in _OF_LOW)
        parts += [f"{name}={value}" for name, value in others if value != getattr(Level, name)]
        return "/".join(parts)

    @cached_property
    def content(self) -> dict[str, Any]:
        """Fields by which levels are compared: those that change no number here count as left out."""
        unused: set[str] = set()
        if self.core is None:
            unused.update(_OF_CORES)
        if self.projector != "level-shift":
            unused.add("level_shift")
        if self.forces != "directional":
            unused.update(_OF_DIRECTIONS)
        return {
            field.name: field.default if field.name in unused else getattr(self, field.name)
            for field in fields(self)
        }

    @property
    def name(self) -> str:
        """Functional and basis for messages, such as ``PBE/def2-SVP``."""
        basis = self.basis if isinstance(self.basis, str) else dict(self.basis).get("default", "own bases")
        return f"{self.functional}{'-' + self.dispersion if self.dispersion else ''}/{basis}"


def _each_spin(counts: tuple[int | tuple[int, int], ...] | None) -> list[tuple[int, ...]]:
    return [n if isinstance(n, tuple) else (n,) for n in counts or ()]


def _wrong_cores(level: Level) -> list[tuple[bool, str, str]]:
    """What is wrong with the fields that only cores read."""
    electrons, orbitals = level.active_space or (2, 2)
    return [
        (
            level.localization not in _LOCALIZATIONS,
            f"localization={level.localization!r}",
            f"use one of {', '.join(_LOCALIZATIONS)}",
        ),
        (
            level.projector not in _PROJECTORS,
            f"projector={level.projector!r}",
            f"use one of {', '.join(_PROJECTORS)}",
        ),
        (
            not 1e3 <= level.level_shift <= 1e9,
            f"level_shift={level.level_shift}",
            "give mu in hartree between 1e3 and 1e9, such as 1e6",
        ),
        (
            any(min(n, default=0) < 0 or sum(n) < 1 or len(n) > 2 for n in _each_spin(level.n_virtual)),
            f"n_virtual={level.n_virtual}",
            "give every core at least one virtual orbital",
        ),
        (
            not 0 < electrons <= 2 * orbitals,
            f"active_space={level.active_space}",
            "give a number of electrons that fits into the orbitals, such as (6, 6)",
        ),
        (
            not all(0 < threshold <= 1e-2 for threshold in level.lno_thresholds),
            f"lno_thresholds={level.lno_thresholds}",
            "give occupations up to 0.01, such as (1e-5, 1e-6)",
        ),
        (
            level.pair_terms and level.active_space is not None,
            f"pair_terms with active_space={level.active_space}",
            "two cores together need another active space than one: compute them as one core to compare",
        ),
    ]
