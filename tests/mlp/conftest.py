"""A molecule whose exact energy is known: p-xylene's force field, bent a little, in a cloud of charges."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
import openmmtools
import pytest
import torch
from numpy.typing import NDArray
from openmm import app, unit

from drupe.mlp import Committee, Dataset, FitSpec
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.baseline_energy import BaselineEnergy
from drupe.mlp.calibration import Calibration, Scale
from drupe.mlp.electrostatics import field_at
from drupe.mlp.fitted import Fitted
from drupe.mlp.potential import Potential, PotentialHeader, StoredPotential
from drupe.mlp.training import train_member
from drupe.units import angstrom, nanometer

POCKET = Path(__file__).parents[2] / "examples" / "pocket-labels"
FOLDER = Path(openmmtools.__file__).parent / "data" / "T4-lysozyme-L99A-implicit"


@dataclass(frozen=True, eq=False)
class KnownLabel:
    """The fields of a label, with energies of a formula instead of a density functional."""

    level: str
    energy: float
    energy_low: float
    forces_qm: NDArray[np.float64] | None
    forces_mm: NDArray[np.float64] | None
    qm_numbers: NDArray[np.int64]
    qm_positions: NDArray[np.float64]
    qm_fixed_charges: NDArray[np.float64]
    mm_positions: NDArray[np.float64]
    mm_charges: NDArray[np.float64]
    forces_of: str = "energy_low"
    directions: NDArray[np.float64] | None = None
    slopes: NDArray[np.float64] | None = None
    slope_errors: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Ligand:
    """p-Xylene with its MM system."""

    topology: app.Topology
    system: openmm.System
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]  # bohr
    force_field: LigandForceField


class Truth:
    """E = stretched force field + sum q0 phi + sum dq phi - 1/2 sum a |E|^2 - 300; on top a bond term."""

    def __init__(self, ligand: Ligand, strength: float = 1.0) -> None:
        self.strength = strength  # of the bond term
        plain = ligand.force_field
        stretch, weaken = np.array([1.008, 0.95]), np.array([1.0, 0.93])
        self.inner = BaselineEnergy(
            dataclasses.replace(plain, bonds=plain.bonds * stretch, angles=plain.angles * weaken)
        )
        stiff = np.zeros_like(plain.bonds) + plain.bonds * np.array([1.015, 0.08])
        nothing = {
            "angles": plain.angles * [1.0, 0.0],
            "torsions": plain.torsions * 0,
            "pairs": plain.pairs * 0,
        }
        self.core = BaselineEnergy(dataclasses.replace(plain, bonds=stiff, **nothing))
        self.fixed = torch.tensor(plain.charges)
        self.shift = 0.4 * (self.fixed - self.fixed.mean())
        self.polarizability = torch.tensor(np.where(ligand.numbers == 6, 5.0, 1.5))

    def energies(self, qm: torch.Tensor, mm: torch.Tensor, charges: torch.Tensor) -> torch.Tensor:
        """Low and high energy, hartree."""
        bare, damped = field_at(qm, mm, charges, 0.0), field_at(qm, mm, charges, 1.5)
        low = self.inner(qm[None])[0] - 300.0 + self.fixed @ bare.potential + self.shift @ damped.potential
        low = low - (self.polarizability * (damped.field**2).sum(-1)).sum() / 2
        return torch.stack([low, low + self.strength * self.core(qm[None])[0] - 0.7])

    def label(
        self,
        ligand: Ligand,
        qm: NDArray,
        mm: NDArray,
        charges: NDArray,
        level: str = "toy",
        forces_of: str = "energy_low",
        n_directions: int = 0,
    ) -> KnownLabel:
        at, around = torch.tensor(qm, requires_grad=True), torch.tensor(mm, requires_grad=True)
        low, high = self.energies(at, around, torch.tensor(charges))
        to_high = torch.autograd.grad(high, (at, around), retain_graph=True)
        to_low = torch.autograd.grad(low, (at, around))
        # The stand-in has nine tenths of the correction.
        share = {"energy_low": 0.0, "MP2": 0.9, "energy": 1.0}[forces_of]
        to_qm, to_mm = (b + share * (a - b) for a, b in zip(to_high, to_low, strict=True))
        slopes: dict[str, NDArray] = {}
        if n_directions:
            seed = int(abs(qm).sum() * 1e6)
            vectors = np.random.default_rng(seed).normal(size=(n_directions, *qm.shape))
            vectors /= np.linalg.norm(vectors, axis=(1, 2), keepdims=True)
            found = np.einsum("kix,ix->k", vectors, to_high[0].numpy())
            slopes = {"directions": vectors, "slopes": found, "slope_errors": np.full(n_directions, 1e-6)}
        low, high = low.detach(), high.detach()
        return KnownLabel(
            level=level,
            energy=float(high),
            energy_low=float(low),
            forces_qm=-to_qm.numpy(),
            forces_mm=-to_mm.numpy(),
            qm_numbers=ligand.numbers,
            qm_positions=qm,
            qm_fixed_charges=ligand.force_field.charges,
            mm_positions=mm,
            mm_charges=charges,
            forces_of=forces_of,
            **slopes,
        )


def cloud(rng: np.random.Generator, qm: NDArray, count: int) -> tuple[NDArray, NDArray]:
    """Neutral charges, none nearer than 2.4 angstrom to a QM atom."""
    spots: list[NDArray] = []
    while len(spots) < count:
        spot = qm.mean(0) + rng.uniform(-9, 9, 3) * angstrom
        if np.linalg.norm(qm - spot, axis=1).min() > 2.4 * angstrom:
            spots.append(spot)
    charges = 0.3 * rng.normal(size=count)
    return np.array(spots), charges - charges.mean()


# TIP3P: O, H, H; angstrom and e.
_SHAPE = np.array([[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.24, 0.9266, 0.0]]) * angstrom
_CHARGES = np.array([-0.834, 0.417, 0.417])


def water_shells(
    rng: np.random.Generator, qm: NDArray, count: int, half_width: float = 9.0
) -> tuple[NDArray, NDArray, NDArray]:
    """Positions (bohr), charges and groups of waters with oxygens in a cube (angstrom) outside ``qm``."""
    spots: list[NDArray] = []
    while len(spots) < count:
        spot = qm.mean(0) + rng.uniform(-half_width, half_width, 3) * angstrom
        if np.linalg.norm(qm - spot, axis=1).min() > 3.2 * angstrom:
            turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
            spots.append(spot + _SHAPE @ turn)
    return np.concatenate(spots), np.tile(_CHARGES, count), np.repeat(np.arange(count), 3)


@pytest.fixture(scope="session")
def waters() -> Callable[..., tuple[NDArray, NDArray, NDArray]]:
    return water_shells


@pytest.fixture(scope="session")
def ligand() -> Ligand:
    prmtop = app.AmberPrmtopFile(str(FOLDER / "ligand.prmtop"))
    start = app.AmberInpcrdFile(str(FOLDER / "ligand-minimized.crd")).positions.value_in_unit(unit.nanometer)
    system = prmtop.createSystem(removeCMMotion=False)
    numbers = np.array([atom.element.atomic_number for atom in prmtop.topology.atoms()])
    force_field = LigandForceField.from_system(system, range(len(numbers)))
    return Ligand(prmtop.topology, system, numbers, np.array(start) * nanometer, force_field)


@pytest.fixture(scope="session")
def truth(ligand: Ligand) -> Truth:
    return Truth(ligand)


@pytest.fixture(scope="session")
def frames(ligand: Ligand) -> list[NDArray]:
    """Forty geometries of the bare molecule at 300 K, 0.5 ps apart."""
    integrator = openmm.LangevinMiddleIntegrator(300, 5 / unit.picosecond, 0.0005)
    integrator.setRandomNumberSeed(3)
    context = openmm.Context(ligand.system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(ligand.positions / nanometer)
    context.setVelocitiesToTemperature(300, 3)
    integrator.step(2000)
    found = []
    for _ in range(40):
        integrator.step(1000)
        place = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        found.append(np.array(place) * nanometer)
    return found


def forty(
    ligand: Ligand, truth: Truth, frames: list[NDArray], forces_of: str, n_directions: int = 0
) -> list[KnownLabel]:
    """Label every third frame without surroundings, the others in sixty charges."""
    made = []
    for i, qm in enumerate(frames):
        rng = np.random.default_rng([11, i])
        mm, charges = cloud(rng, qm, 60) if i % 3 else (np.zeros((0, 3)), np.zeros(0))
        made.append(truth.label(ligand, qm, mm, charges, forces_of=forces_of, n_directions=n_directions))
    return made


@pytest.fixture(scope="session")
def labels(ligand: Ligand, truth: Truth, frames: list[NDArray]) -> list[KnownLabel]:
    """Forty labels with forces of the low level."""
    return forty(ligand, truth, frames, "energy_low")


@pytest.fixture(scope="session")
def exact_labels(ligand: Ligand, truth: Truth, frames: list[NDArray]) -> list[KnownLabel]:
    """The same with forces of the high level."""
    return forty(ligand, truth, frames, "energy")


@pytest.fixture(scope="session")
def slope_labels(ligand: Ligand, truth: Truth, frames: list[NDArray]) -> list[KnownLabel]:
    """The same with forces of the low level and three slopes of the high one."""
    return forty(ligand, truth, frames, "energy_low", 3)


@pytest.fixture(scope="session")
def strong_labels(ligand: Ligand, frames: list[NDArray]) -> dict[str, list[KnownLabel]]:
    """Labels whose correction is four times as large as the error of `low_fits`, by what they tell of it."""
    truth = Truth(ligand, 4.0)
    return {
        "energies": forty(ligand, truth, frames, "energy_low"),
        "slopes": forty(ligand, truth, frames, "energy_low", 3),
        "forces": forty(ligand, truth, frames, "energy"),
    }


@pytest.fixture(scope="session")
def low_data(labels: list[KnownLabel]) -> Dataset:
    """Twenty labels in five blocks."""
    return Dataset.from_labels(labels[:20], which="low", blocks=[i // 4 for i in range(20)])


@pytest.fixture(scope="session")
def test_data(labels: list[KnownLabel]) -> Dataset:
    """Twenty labels that no fit sees."""
    return Dataset.from_labels(labels[20:], which="low")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def random_members(ligand: Ligand) -> list[Potential]:
    """Three potentials with large random weights, so that no term is small."""
    header = PotentialHeader(
        numbers=ligand.numbers,
        fixed_charges=ligand.force_field.charges,
        total_charge=0,
        backbone="painn",
        features=12,
        layers=2,
        radial=6,
        cutoff=9.0,
        damping=2.0,
        field_scale=0.02,
        energy_scale=0.005,
        energy_bound=0.1,
        charge_scale=0.1,
        polarizability_scale=5.0,
        energy_zero=-3.0,
        level="toy",
        training_set="none",
        baseline=ligand.force_field,
    )
    made = []
    for seed in range(3):
        one = Potential(header, seed=seed)
        draw = torch.Generator().manual_seed(seed)
        torch.nn.init.normal_(one.readout.last.weight, std=0.3, generator=draw)
        made.append(one)
    return made


@pytest.fixture(scope="session")
def random_stack(random_members: list[Potential]) -> Potential:
    return Potential.from_stored([one.stored() for one in random_members])


@pytest.fixture(scope="session")
def random_committee(random_members: list[Potential]) -> Committee:
    scales = Scale(epistemic=2.0, frames=5), Scale(epistemic=3.0), Scale(epistemic=4.0)
    return Committee(tuple(one.stored() for one in random_members), Calibration(*scales))


@pytest.fixture(scope="session")
def phenol_field() -> app.ForceField:
    """Phenol, and water of four sites."""
    return app.ForceField(str(POCKET / "phenol.xml"), "amber14/tip4pew.xml")


@pytest.fixture(scope="session")
def phenol_committee(
    random_members: list[Potential], phenol_field: app.ForceField
) -> Callable[..., Committee]:
    """Makes two random potentials of phenol with its own force field and some reach."""
    topology = app.PDBFile(str(POCKET / "phenol.pdb")).topology
    force_field = LigandForceField.from_system(phenol_field.createSystem(topology), range(13))
    numbers = np.array([atom.element.atomic_number for atom in topology.atoms()])
    header = dataclasses.replace(
        random_members[0].header, numbers=numbers, fixed_charges=force_field.charges, baseline=force_field
    )

    def made(reach: float | None = None) -> Committee:
        found = []
        for seed in range(2):
            one = Potential(dataclasses.replace(header, reach=reach), seed=seed)
            draw = torch.Generator().manual_seed(seed)
            torch.nn.init.normal_(one.readout.last.weight, std=0.1, generator=draw)
            found.append(one.stored())
        return Committee(tuple(found))

    return made


@dataclass(frozen=True, eq=False)
class FourSites:
    """Phenol in water of four sites, PME, bonds to hydrogen constrained."""

    topology: app.Topology
    system: openmm.System
    positions: NDArray[np.float64]  # bohr


@pytest.fixture(scope="session")
def four_sites(phenol_field: app.ForceField) -> FourSites:
    pdb = app.PDBFile(str(POCKET / "phenol.pdb"))
    made = app.Modeller(pdb.topology, pdb.positions)
    box = openmm.Vec3(2.2, 2.2, 2.2) * unit.nanometer
    made.addSolvent(phenol_field, model="tip4pew", boxSize=box)
    system = phenol_field.createSystem(
        made.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.8 * unit.nanometer,
        switchDistance=0.7 * unit.nanometer,
        constraints=app.HBonds,
    )
    place = np.array(made.positions.value_in_unit(unit.nanometer)) * nanometer
    return FourSites(made.topology, system, place)


@pytest.fixture(scope="session")
def with_reach() -> Callable[[Sequence[StoredPotential], float], Committee]:
    """Makes a committee of the same networks that feels charges within another reach."""

    def made(members: Sequence[StoredPotential], reach: float) -> Committee:
        header = dataclasses.replace(members[0].header, reach=reach)
        return Committee(tuple(dataclasses.replace(one, header=header) for one in members))

    return made


@pytest.fixture(scope="session")
def scene(frames: list[NDArray]) -> tuple[NDArray, NDArray, NDArray]:
    """One geometry in sixty charges."""
    mm, charges = cloud(np.random.default_rng(21), frames[4], 60)
    return frames[4], mm, charges


@pytest.fixture(scope="session")
def low_fits(ligand: Ligand, low_data: Dataset) -> list[Fitted]:
    """Two members, fitted for a short while."""
    torch.set_num_threads(1)
    spec = FitSpec(members=2, seed=1, steps=250, features=16, batch=10)
    return [train_member(low_data, spec, member, ligand.force_field) for member in range(2)]
