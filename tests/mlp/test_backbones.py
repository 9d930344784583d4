"""What every backbone and every readout must do, with random weights: nothing is trained here."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from ase.data.s22 import create_s22_system
from scipy.spatial.transform import Rotation
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from drupe.errors import InputError
from drupe.mlp import Committee, Dataset, FitSpec
from drupe.mlp.backbones.registry import BACKBONES
from drupe.mlp.backbones.settings import AcsfSettings, ChargeMoments, EquivariantSettings
from drupe.mlp.evaluation import evaluate
from drupe.mlp.loss import LossWeights, loss_of, predict_frames, scales_of
from drupe.mlp.potential import Potential
from drupe.mlp.readouts.settings import ClassicalSettings, VqcSettings
from drupe.mlp.training_set import prepare
from drupe.units import angstrom

STEP = 2e-3  # bohr
WEIGHTS = LossWeights(0.3, 1.0, 0.3, 1e-3, 1e-3)
SMALL = {
    "acsf": AcsfSettings(angular_cutoff=6.0, charge_radial=5, charge_cutoff=9.0),
    "equivariant": EquivariantSettings(max_l=1, radial_width=8),
}
ALL = [
    pytest.param(name, marks=[pytest.mark.needs("e3nn")] if name == "equivariant" else [], id=name)
    for name in BACKBONES
]
MOMENTS = {
    "painn, charge moments": {"backbone": "painn", "settings": ChargeMoments(3, 9.0, charge_order=1)},
    "tensornet, charge vectors": {"backbone": "tensornet", "settings": ChargeMoments(2, 9.0, charge_order=1)},
    "tensornet, charge moments": {"backbone": "tensornet", "settings": ChargeMoments(3, 9.0)},
}
# One backbone is enough for the readouts: they see its features only.
READ = {
    "painn, classical control": {"readout": "classical", "readout_settings": ClassicalSettings(9)},
    "painn, cosine": {"readout": "cosine"},
    "painn, vqc": {"readout": "vqc", "readout_settings": VqcSettings(qubits=5, entangler="cx")},
}


def member(header, seed=0):
    """A potential with a large random readout, so that no term is small."""
    made = Potential(header, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    torch.nn.init.normal_(made.readout.last.weight, std=0.3, generator=draw)
    for name, weight in made.readout.named_parameters():
        if name in ("energies.weight", "energies.last.weight"):
            torch.nn.init.normal_(weight, std=0.3, generator=draw)
    return made


@pytest.fixture(scope="module", params=[*ALL, *MOMENTS, *READ])
def header(request, random_members):
    plain = random_members[0].header
    if request.param in MOMENTS | READ:
        return dataclasses.replace(plain, features=8, radial=6, **(MOMENTS | READ)[request.param])
    return dataclasses.replace(
        plain, backbone=request.param, settings=SMALL.get(request.param), features=8, radial=6
    )


@pytest.fixture(scope="module")
def potential(header):
    return member(header)


@pytest.fixture(scope="module")
def for_two_elements(header):
    """The same network for any molecule of two elements."""

    def make(numbers, **changes):
        if header.backbone == "acsf" and "cutoff" in changes:
            changes["settings"] = AcsfSettings(angular_cutoff=0.8 * changes["cutoff"])
        fitted = dataclasses.replace(
            header,
            numbers=np.array(numbers),
            fixed_charges=np.zeros(len(numbers)),
            baseline=None,
            energy_zero=0.0,
            **changes,
        )
        return member(fitted)

    return make


def gas_energy(potential, positions):
    """Learned energies of the atoms of one molecule in no field."""
    place = torch.tensor(positions[None])
    sums = getattr(potential.backbone.charge_sums, "width", 0)
    terms = potential.atom_terms(place, torch.zeros_like(place), torch.zeros(*place.shape[:2], sums).double())
    return terms.energy[0, 0].detach().numpy()


def test_forces_on_qm_and_mm_atoms_are_finite_differences(potential, scene):
    qm, mm, charges = scene
    made = evaluate(potential, qm, mm, charges, fixed_coulomb=False)

    def slope(which, atom, axis):
        def at(shift):
            places = [qm.copy(), mm.copy()]
            places[which][atom, axis] += shift * STEP
            return evaluate(potential, *places, charges, fixed_coulomb=False).energies[0]

        return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP)

    near = int(np.argmin(np.linalg.norm(mm[:, None] - qm, axis=2).min(1)))
    # 2e-8 hartree/bohr: h^4 of stretching terms, and rounding over the step.
    for atom, axis in ((0, 0), (3, 1), (11, 2)):
        assert -made.forces_qm[atom, axis] == pytest.approx(slope(0, atom, axis), abs=2e-8)
    for axis in range(3):
        assert -made.forces_mm[near, axis] == pytest.approx(slope(1, near, axis), abs=2e-8)
    assert np.abs(made.forces_mm[near]).max() > 1e-6


def test_short_way_equals_the_formula(potential, scene):
    made = evaluate(potential, *scene, fixed_coulomb=True)
    at, around, charges = (torch.tensor(x) for x in scene)
    at.requires_grad_(), around.requires_grad_()
    energy = potential(at, around, charges)
    to_qm, to_mm = torch.autograd.grad(energy.sum(), (at, around))
    assert made.energies == pytest.approx(energy.detach().numpy(), rel=1e-13)
    assert made.forces_qm == pytest.approx(-to_qm.numpy(), abs=1e-12)
    assert made.forces_mm == pytest.approx(-to_mm.numpy(), abs=1e-12)


def test_forces_of_members_are_those_of_each_alone(header, scene):
    members = [member(header, seed) for seed in range(2)]
    stack = Potential.from_stored([one.stored() for one in members])
    made = evaluate(stack, *scene, fixed_coulomb=False).apart().forces_qm
    for seed, found in enumerate(made):
        alone = member(header, seed)
        direct = evaluate(alone, *scene, fixed_coulomb=False).forces_qm
        assert found == pytest.approx(direct, abs=1e-12)


def test_training_and_inference_compute_one_force(potential, labels, ligand):
    data = Dataset.from_labels([labels[0], labels[1], labels[2]], which="low")
    frames = prepare(
        data, ligand.force_field, potential.header.damping, charge_sums=potential.backbone.charge_sums
    )
    made = predict_frames(potential, frames)
    for i, count in enumerate(data.mm_counts):
        around = data.mm_positions[i, :count], data.mm_charges[i, :count]
        direct = evaluate(potential, data.positions[i], *around, fixed_coulomb=True)
        missed = data.forces_qm[i] - direct.forces_qm
        assert (frames.forces[i] - made.forces[i].detach()).numpy() == pytest.approx(missed, abs=1e-11)
        squared = ((data.forces_mm[i, :count] - direct.forces_mm) ** 2).sum()
        assert float(made.mm_square[i].detach()) == pytest.approx(squared, rel=1e-9, abs=1e-14)


def test_gradient_of_the_force_loss_is_its_slope(potential, labels, ligand):
    """Training differentiates twice: through positions and then through weights."""
    data = Dataset.from_labels(labels[:2], which="low")
    frames = prepare(
        data, ligand.force_field, potential.header.damping, charge_sums=potential.backbone.charge_sums
    )
    scales = scales_of(frames, -300.0)
    weights = LossWeights(energy=0.3, forces=1.0, mm_forces=0.3, charge=1e-3, polarizability=1e-3)
    moved = member(potential.header)
    parameters = list(moved.parameters())
    loss = loss_of(moved, frames, scales, weights, -300.0)
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    draw = torch.Generator().manual_seed(1)
    along = [torch.randn(p.shape, generator=draw, dtype=p.dtype) for p in parameters]
    want = sum(float((g * v).sum()) for g, v in zip(slopes, along, strict=True) if g is not None)
    start = [p.detach().clone() for p in parameters]

    def at(s):
        with torch.no_grad():
            for p, p0, v in zip(parameters, start, along, strict=True):
                p.copy_(p0 + s * v)
        return float(loss_of(moved, frames, scales, weights, -300.0).detach())

    step = 3e-5
    found = (at(-2 * step) - 8 * at(-step) + 8 * at(step) - at(2 * step)) / (12 * step)
    assert abs(want) > 1e-3
    assert found == pytest.approx(want, rel=1e-5)


# 1e-11: rounding of rotated coordinates. Mirrored, torsion phases of pi with seven digits show.
@pytest.mark.parametrize(("sign", "tolerance"), [(1, 1e-11), (-1, 2e-8)])
def test_turning_moving_and_mirroring_change_nothing_but_the_frame(potential, scene, sign, tolerance):
    qm, mm, charges = scene
    here = evaluate(potential, qm, mm, charges, fixed_coulomb=True)
    turn = sign * Rotation.from_euler("xyz", [0.4, -1.1, 2.0]).as_matrix()
    shift = np.array([30.0, -12.0, 7.0])
    there = evaluate(potential, qm @ turn.T + shift, mm @ turn.T + shift, charges, fixed_coulomb=True)
    assert there.energies == pytest.approx(here.energies, abs=tolerance)
    assert there.forces_qm == pytest.approx(here.forces_qm @ turn.T, abs=tolerance)
    assert there.forces_mm == pytest.approx(here.forces_mm @ turn.T, abs=tolerance)
    assert here.forces_qm.sum(0) + here.forces_mm.sum(0) == pytest.approx(np.zeros(3), abs=1e-11)


def test_mirror_images_have_one_learned_energy(potential, scene):
    """Without the force field, whose printed phases of pi are not exact."""
    qm = scene[0] - scene[0].mean(0)
    assert gas_energy(potential, -qm) == pytest.approx(gas_energy(potential, qm), abs=1e-12)


def test_order_of_like_atoms_and_of_charges_does_not_matter(potential, scene):
    qm, mm, charges = scene
    numbers = potential.header.numbers
    swapped = np.arange(len(numbers))
    for element in np.unique(numbers):
        swapped[numbers == element] = np.roll(swapped[numbers == element], 1)
    here, there = gas_energy(potential, qm), gas_energy(potential, qm[swapped])
    assert there == pytest.approx(here[swapped], abs=1e-12)
    order = np.random.default_rng(0).permutation(len(mm))
    first = evaluate(potential, qm, mm, charges, fixed_coulomb=False)
    second = evaluate(potential, qm, mm[order], charges[order], fixed_coulomb=False)
    assert second.energies == pytest.approx(first.energies, abs=1e-12)
    assert second.forces_mm == pytest.approx(first.forces_mm[order], abs=1e-12)


def test_charges_of_zero_give_the_gas_phase(potential, scene):
    qm, mm, charges = scene
    alone = evaluate(potential, qm, np.zeros((0, 3)), np.zeros(0), fixed_coulomb=True)
    silent = evaluate(potential, qm, mm, np.zeros_like(charges), fixed_coulomb=True)
    assert silent.energies == pytest.approx(alone.energies, abs=1e-13)
    assert silent.forces_qm == pytest.approx(alone.forces_qm, abs=1e-13)
    assert not silent.forces_mm.any()
    assert abs(evaluate(potential, *scene, fixed_coulomb=False).energies - alone.energies).max() > 1e-5


def test_neighbours_fade_out_smoothly(for_two_elements):
    cutoff = 6.0
    potential = for_two_elements([6, 1], cutoff=cutoff)

    def energies(distance):
        return gas_energy(potential, np.array([[0.0, 0, 0], [distance, 0, 0]]))

    apart = energies(50.0)
    assert np.array_equal(energies(cutoff), apart)
    assert np.abs(energies(0.6 * cutoff) - apart).max() > 1e-6
    # Two derivatives vanish at the cutoff, so what is left at a distance d inside it goes with d^3.
    far, near = (np.abs(energies(cutoff - d) - apart).max() for d in (0.4, 0.05))
    assert near < far / 8**2


def test_atoms_beyond_the_reach_of_all_layers_do_not_count(for_two_elements):
    layers, cutoff = 2, 4.0
    potential = for_two_elements([6, 6, 6, 6, 1], cutoff=cutoff, layers=layers)
    row = np.array([[3.0 * k, 0.1 * k * k, 0] for k in range(5)])
    bent = row.copy()
    bent[4] += [0.3, 0.2, 0.5]
    here, there = gas_energy(potential, row), gas_energy(potential, bent)
    # TensorNet passes messages once before its layers; atom 0 is four bonds away from atom 4.
    assert here[0] == there[0]
    assert abs(here[3] - there[3]) > 1e-7


@pytest.mark.parametrize("name", ["Ammonia_dimer", "Water_dimer", "Methane_dimer", "Ethene_dimer"])
def test_energy_is_size_extensive(for_two_elements, name):
    dimer = create_s22_system(name)
    half = len(dimer) // 2
    places = dimer.positions * angstrom
    parts = [places[:half], places[half:] + np.array([300.0, 0, 0])]
    alone = for_two_elements(dimer.numbers[:half])
    both = for_two_elements(dimer.numbers)
    want = sum(gas_energy(alone, part).sum() for part in parts)
    assert gas_energy(both, np.concatenate(parts)).sum() == pytest.approx(want, abs=1e-12)
    assert abs(gas_energy(both, places).sum() - want) > 1e-6  # near each other they do interact


class OneDevice(TorchDispatchMode):
    """Refuses operations on arrays of several devices; arrays of no axis may be anywhere."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        arrays = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor) and one.dim()]
        assert len({one.device for one in arrays}) < 2, f"{function} joins arrays of two devices"
        return function(*args, **(kwargs or {}))


def test_a_step_of_a_fit_stays_on_its_device(header, low_data):
    """The device that only knows shapes stands for a GPU: what is made on the way must be made there."""
    if header.backbone in ("acsf", "equivariant"):
        pytest.skip("lists of neighbours depend on the positions, and this device has none")
    sums = Potential(header).backbone.charge_sums
    data = prepare(low_data.take(range(4)), header.baseline, header.damping, None, sums)
    scales = scales_of(data, header.energy_zero)
    where = torch.device("meta")
    potential = Potential(header).to(where, torch.float32)
    with OneDevice():
        loss = loss_of(potential, data.to(where, torch.float32), scales, WEIGHTS, 0.0)
        loss.backward()
    assert loss.device == where
    assert all(weight.grad.device == where for weight in potential.parameters())
    with OneDevice(), pytest.raises(AssertionError, match="two devices"):
        loss_of(
            potential,
            dataclasses.replace(data.to(where, torch.float32), field=data.field),
            scales,
            WEIGHTS,
            0.0,
        )


def test_a_stack_is_its_members(header, scene):
    members = [member(header, seed) for seed in range(2)]
    alone = [evaluate(one, *scene, fixed_coulomb=True) for one in members]
    committee = Committee.from_bytes(Committee(tuple(one.stored() for one in members)).to_bytes())
    stacked = committee.evaluate(*scene, fixed_coulomb=True)
    assert stacked.energies == pytest.approx([float(one.energies[0]) for one in alone], abs=1e-12)
    assert stacked.forces_mm == pytest.approx(np.mean([one.forces_mm for one in alone], axis=0), abs=1e-12)
    assert abs(stacked.energies[0] - stacked.energies[1]) > 1e-6


def test_settings_belong_to_their_backbone():
    assert FitSpec(backbone="acsf").settings == AcsfSettings()
    assert FitSpec(backbone="acsf") == FitSpec(backbone="acsf", settings=AcsfSettings())
    assert FitSpec().settings is None
    with pytest.raises(InputError, match="AcsfSettings are not settings of the backbone 'painn'"):
        FitSpec(settings=AcsfSettings())
    with pytest.raises(InputError, match="did you mean 'painn'"):
        FitSpec(backbone="pain")
    with pytest.raises(InputError, match="not below the cutoff"):
        FitSpec(backbone="acsf", cutoff=6.0)
    with pytest.raises(InputError, match="charge_radial = 0"):
        AcsfSettings(charge_radial=0)
    for kind in (AcsfSettings, ChargeMoments):
        with pytest.raises(InputError, match="holds no MM atom"):
            kind(charge_cutoff=3.0)
    for backbone, settings in (("acsf", None), ("tensornet", ChargeMoments())):
        with pytest.raises(InputError, match="reads the charges around"):
            FitSpec(backbone=backbone, settings=settings, reach=0)
    with pytest.raises(InputError, match="charge_order = 3"):
        ChargeMoments(charge_order=3)
    with pytest.raises(InputError, match="'painn' has no tensors"):
        FitSpec(settings=ChargeMoments())
    with pytest.raises(InputError, match="half a residue, before the reach = 12"):
        FitSpec(backbone="tensornet", settings=ChargeMoments(), reach=12.0)


def test_without_e3nn_the_error_says_what_to_install(monkeypatch, random_members):
    monkeypatch.setitem(sys.modules, "e3nn", None)
    monkeypatch.delitem(sys.modules, "drupe.mlp.backbones.equivariant", raising=False)
    header = dataclasses.replace(random_members[0].header, backbone="equivariant", settings=None)
    with pytest.raises(InputError, match=r"pip install .*drupe\[equivariant\]"):
        Potential(header)
