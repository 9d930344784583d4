"""The learned potential of a molecule in surroundings of point charges: bohr and e in, hartree out.

E = zero + baseline(R) [+ D3(R)] + sum q0 phi + sum e + sum (q - q0) phi' - 1/2 sum a |E'|^2

with phi the bare and phi', E' the damped potential and field of the MM charges at the QM atoms, and e, q, a
the network's energy, charge and polarizability of each atom. This is the label's quantity: the QM energy
with its interaction with the charges, nothing of the surroundings among themselves. Where the header has a
reach, phi' and E' are of the groups of charges within it (`drupe.mlp.reach`); phi is always of all.
Where it has a border, link atoms are among the atoms and the charges are those `drupe.mlp.border` makes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from drupe.errors import InputError
from drupe.mlp.ani2x import Ani2x
from drupe.mlp.backbones.registry import NetworkSize, build, resolve_settings
from drupe.mlp.backbones.settings import BackboneSettings
from drupe.mlp.baseline_energy import Baseline, energy_of
from drupe.mlp.border import Border
from drupe.mlp.charge_sums import sums_at
from drupe.mlp.electrostatics import field_at
from drupe.mlp.reach import PLATEAU, fade_groups
from drupe.mlp.readout import AtomTerms, Readout
from drupe.mlp.readouts.registry import ReadoutSize, build_readout, resolve_readout
from drupe.mlp.readouts.settings import ReadoutSettings
from drupe.records import frozen, record_key, register
from drupe.units import angstrom

__all__ = ["Potential", "PotentialHeader", "StoredPotential"]

UNITS = "hartree, bohr, e"


def _without_reach(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 let all charges act."""
    return {**fields, "reach": None}


def _without_settings(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 2 knew one backbone, which has no settings of its own."""
    return {**fields, "settings": None}


def _without_border(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 3 was for whole molecules."""
    return {**fields, "border": None}


def _without_dispersion(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 4 had no dispersion of its own: what labels held was learned with the rest."""
    return {**fields, "dispersion": None}


def _without_readout(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 5 knew one readout, which has no settings of its own."""
    return {**fields, "readout": "classical", "readout_settings": None}


def _without_energies(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 6 did not say what its energies are; labels without any left a zero of exactly 0."""
    return {**fields, "energies": "total" if fields["energy_zero"] else "none"}


@register(
    version=7,
    upgrades={
        1: _without_reach,
        2: _without_settings,
        3: _without_border,
        4: _without_dispersion,
        5: _without_readout,
        6: _without_energies,
    },
)
@dataclass(frozen=True, eq=False)
class PotentialHeader:
    """All that fixes a potential except its weights.

    ``numbers`` atomic numbers in order; ``fixed_charges`` q0 (e); ``total_charge`` whole, link atoms
    included; ``backbone``, ``features``, ``layers``, ``radial`` the network, ``settings`` what its backbone
    alone has; ``cutoff`` and ``damping`` bohr; ``field_scale`` hartree/(e bohr); ``energy_scale``,
    ``energy_bound`` hartree; ``charge_scale`` e; ``polarizability_scale`` bohr^3; ``energy_zero`` hartree;
    ``level`` and ``training_set`` say what the energies are; ``baseline`` the MM terms or the ANI-2x under
    the network, or None; ``units`` of everything; ``reach`` bohr, how near a group of charges must come for
    the learned electrostatics to feel it, None for all, 0 for none (mechanical embedding); ``border`` link
    atoms and moved charges of a molecule that is cut out of a larger one, None for a whole one;
    ``dispersion`` functional whose D3(BJ) among these atoms is a term of the energy, None for no such term;
    ``readout`` what makes energies of features, with ``readout_settings`` of its own; ``energies`` says what
    they are: ``"total"``, ``"relative"`` to a zero that the labels have, or ``"none"`` where the labels had
    forces only and the zero is arbitrary, for each potential another.
    """

    numbers: NDArray[np.int64]
    fixed_charges: NDArray[np.float64]
    total_charge: int
    backbone: str
    features: int
    layers: int
    radial: int
    cutoff: float
    damping: float
    field_scale: float
    energy_scale: float
    energy_bound: float
    charge_scale: float
    polarizability_scale: float
    energy_zero: float
    level: str
    training_set: str
    baseline: Baseline | None
    units: str = UNITS
    reach: float | None = None
    settings: BackboneSettings | None = None
    border: Border | None = None
    dispersion: str | None = None
    readout: str = "classical"
    readout_settings: ReadoutSettings | None = None
    energies: str = "total"

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", frozen(self.numbers, np.int64))
        object.__setattr__(self, "fixed_charges", frozen(self.fixed_charges, np.float64))
        if self.units != UNITS:
            raise InputError(
                f"the potential is in {self.units!r}, this version computes in {UNITS!r}",
                remedy="train the potential again with this version",
            )
        settings = resolve_settings(self.backbone, self.settings, self.cutoff, self.reach)
        object.__setattr__(self, "settings", settings)
        object.__setattr__(self, "readout_settings", resolve_readout(self.readout, self.readout_settings))
        if self.reach is not None and not (np.isfinite(self.reach) and self.reach >= 0):
            raise InputError(
                f"the reach of a potential is {self.reach}",
                remedy="give a number of bohr, 0 for mechanical embedding, or None for all charges",
            )
        counts = [len(self.numbers), len(self.fixed_charges)]
        if self.baseline is not None:
            counts.append(self.baseline.n_atoms - self.n_links)
        if len(set(counts)) != 1:
            raise InputError(
                f"elements, fixed charges and baseline are of {counts} atoms and {self.n_links} link atoms",
                remedy="read the baseline for the atoms of the labels, in their order; where bonds are cut, "
                "with links=partition.links",
            )
        if isinstance(self.baseline, Ani2x):
            self._check_ani2x(self.baseline)

    def _check_ani2x(self, baseline: Ani2x) -> None:
        if not np.array_equal(baseline.numbers, self.network_numbers):
            raise InputError(
                f"the ANI-2x baseline is of the atoms {baseline.numbers.tolist()}, the labels of "
                f"{self.network_numbers.tolist()}",
                remedy="make it with Ani2x.of_atoms(dataset.network_numbers)",
            )
        if self.total_charge != 0:
            raise InputError(
                f"ANI-2x is for neutral molecules, this one has charge {self.total_charge}",
                remedy="take LigandForceField for this molecule",
            )

    @property
    def key(self) -> str:
        """Content name."""
        return record_key(self)

    @property
    def n_links(self) -> int:
        """Number of link atoms."""
        return 0 if self.border is None else self.border.n_links

    @property
    def network_numbers(self) -> NDArray[np.int64]:
        """Atomic numbers of all the network sees: the atoms, then a hydrogen for each link atom."""
        return np.concatenate([self.numbers, np.ones(self.n_links, np.int64)])

    @property
    def network_charges(self) -> NDArray[np.float64]:
        """Fixed charges of the same atoms, e: link atoms have none, what is missing is learned."""
        return np.pad(self.fixed_charges, (0, self.n_links))

    @property
    def dispersion_told(self) -> str:
        """Which dispersion is a term of the energy, in words; empty for none."""
        return f"; D3(BJ) of {self.dispersion} among its atoms is in the energy" if self.dispersion else ""

    @property
    def energies_told(self) -> str:
        """What the energies are, in words; empty for total ones."""
        told = {
            "relative": "; energies are relative, with the zero of the labels",
            "none": "; energies are relative, with an arbitrary zero: no label had one",
        }
        return told.get(self.energies, "")

    @property
    def electrostatics(self) -> str:
        """Which charges the learned part feels, in words."""
        if self.reach is None:
            return "learned charges and polarizabilities feel all MM charges"
        if self.reach == 0:
            return "mechanical embedding: the surroundings act on the fixed charges only"
        near, far = PLATEAU * self.reach / angstrom, self.reach / angstrom
        return (
            f"learned charges and polarizabilities feel residues whose centre is within {far:.1f} A of a QM "
            f"atom, faded from {near:.1f} A on; what lies beyond acts on the fixed charges only"
        )


@register(version=1)
@dataclass(frozen=True, eq=False)
class StoredPotential:
    """A potential as plain arrays: ``weights`` maps parameter names to float64 arrays."""

    header: PotentialHeader
    weights: Mapping[str, NDArray[np.float64]]


class Potential(nn.Module):
    """Network, electrostatics and baseline; ``members`` of them stacked in one module.

    Parameters
    ----------
    header
        What to build.
    members
        Number of networks evaluated side by side.
    seed
        Seed of the first weights; the random state of the process is left as it was.
    """

    fixed_charges: Tensor

    def __init__(self, header: PotentialHeader, members: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.header, self.members = header, members
        # Link atoms are a kind of their own: unlike other hydrogens they have no fixed charge.
        kinds, species = np.unique(np.pad(header.numbers, (0, header.n_links)), return_inverse=True)
        self.register_buffer("fixed_charges", torch.tensor(header.network_charges), persistent=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._build(header, species, len(kinds), members)
        self.baseline = energy_of(header.baseline, header.network_numbers, header.dispersion)

    def _build(
        self, header: PotentialHeader, species: NDArray[np.int64], n_species: int, members: int
    ) -> None:
        size = NetworkSize(
            species=torch.tensor(species, dtype=torch.int64),
            n_species=n_species,
            features=header.features,
            layers=header.layers,
            radial=header.radial,
            cutoff=header.cutoff,
            field_scale=header.field_scale,
            members=members,
        )
        self.backbone = build(header.backbone, size, header.settings)
        read = ReadoutSize(header.features, members, header.energy_scale, header.energy_bound)
        self.readout = Readout(
            header.features,
            energy_scale=header.energy_scale,
            energy_bound=header.energy_bound,
            charge_scale=header.charge_scale,
            polarizability_scale=header.polarizability_scale,
            missing_charge=header.total_charge - float(header.fixed_charges.sum()),
            members=members,
            energies=build_readout(header.readout, read, header.readout_settings),
        )

    def hold(self) -> "Potential":
        """Prepare for weights that do not change any more; gives the potential itself."""
        self.readout.hold()
        return self

    def in_single_precision(self) -> "Potential":
        """Round the network to float32, but neither positions nor baseline; gives the potential itself."""
        for name in ("backbone", "readout"):
            self.get_submodule(name).float()
        return self

    @classmethod
    def from_stored(cls, stored: StoredPotential | Sequence[StoredPotential]) -> "Potential":
        """Rebuild from stored form; several with equal headers become one stacked potential.

        Raises
        ------
        InputError
            If headers differ or weights do not fit the header.
        """
        items = [stored] if isinstance(stored, StoredPotential) else list(stored)
        if len({item.header.key for item in items}) != 1:
            raise InputError(
                f"{len(items)} potentials with different headers cannot be stacked",
                remedy="train all members with one data set, specification and baseline",
            )
        made = cls(items[0].header, members=len(items))
        names = {name: tuple(value.shape) for name, value in made.state_dict().items()}
        for item in items:
            found = {name: (len(items), *value.shape[1:]) for name, value in item.weights.items()}
            if found != names or any(not np.isfinite(value).all() for value in item.weights.values()):
                raise InputError(
                    "the stored weights do not fit the stored header, or are not finite",
                    remedy="the file is damaged or edited; train again",
                )
        made.load_state_dict(
            {name: torch.tensor(np.concatenate([item.weights[name] for item in items])) for name in names}
        )
        return made

    def stored(self) -> StoredPotential:
        """Plain arrays of a single potential (float64)."""
        if self.members != 1:
            raise InputError(
                "a stack is stored member by member", remedy="store the potentials it was made of"
            )
        state = sorted(self.state_dict().items())
        weights = {name: frozen(value.detach().cpu().numpy(), np.float64) for name, value in state}
        return StoredPotential(self.header, weights)

    def atom_terms(self, positions: Tensor, field: Tensor, sums: Tensor) -> AtomTerms:
        """Run the network on positions, damped field and charge sums; see `learned`."""
        terms: AtomTerms = self.readout(self.backbone(positions, field, sums), len(positions))
        return terms

    def learned(
        self, positions: Tensor, potential: Tensor, field: Tensor, sums: Tensor
    ) -> tuple[Tensor, AtomTerms]:
        """Energy the network adds, shape ``(members, frames)``, and the outputs it is made of.

        Parameters
        ----------
        positions, field
            Shape ``(frames, atoms, 3)``; bohr and hartree/(e bohr), the field damped.
        potential
            Damped potential, shape ``(frames, atoms)``, hartree/e.
        sums
            What `drupe.mlp.charge_sums` makes of the charges for this backbone, ``(frames, atoms, k)``, e.
        """
        precision = self.readout.inner.weight.dtype
        positions, potential, field, sums = (
            part.to(precision) for part in (positions, potential, field, sums)
        )
        terms = self.atom_terms(positions, field, sums)
        induced = terms.polarizability * (field * field).sum(-1)
        return (terms.energy + terms.shift * potential - induced / 2).sum(-1), terms

    def forward(self, qm: Tensor, mm: Tensor, charges: Tensor, group: Tensor | None = None) -> Tensor:
        """Label quantity of one frame, straight from the formula and fully differentiable.

        Parameters
        ----------
        qm, mm, charges
            Shapes ``(qm, 3)`` and ``(mm, 3)`` in bohr, ``(mm,)`` in e; ``mm`` may be empty. With a border:
            ``positions``, ``points`` and ``charges`` of `drupe.mlp.border.Capped`.
        group
            Group of each charge, from 0 without gaps, ``(mm,)``; used where the header has a reach.

        Returns
        -------
        Tensor
            Shape ``(members,)``, hartree.
        """
        felt = charges
        if self.header.reach == 0:
            felt = torch.zeros_like(charges)
        elif self.header.reach is not None and len(mm):
            if group is None:
                raise InputError("a potential with a reach got charges without groups", remedy="pass group")
            felt = charges * fade_groups(qm, mm, group, self.header.reach).per_charge
        damped = field_at(qm, mm, felt, self.header.damping)
        sums = sums_at(qm, mm, charges, self.backbone.charge_sums).value
        energy, _ = self.learned(qm[None], damped.potential[None], damped.field[None], sums[None])
        energy = energy[:, 0] + self.header.energy_zero
        energy = energy + self.fixed_charges @ field_at(qm, mm, charges, 0.0).potential
        return energy if self.baseline is None else energy + self.baseline(qm[None])
