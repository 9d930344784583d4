"""Backbones in a periodic box: what the choice of images and of the cell must not change."""

import itertools

import numpy as np
import pytest
import torch

from drupe.errors import InputError
from drupe.mlp.backbones.pairs import DensePairs
from drupe.mlp.backbones.registry import NetworkSize, build
from drupe.mlp.backbones.settings import AcsfSettings, EquivariantSettings

CUTOFF = 4.5  # bohr
BOX = torch.tensor([[10.0, 0.0, 0.0], [2.0, 9.5, 0.0], [-1.5, 1.0, 9.8]], dtype=torch.float64)
ATOMS = 6
SETTINGS = {
    "acsf": AcsfSettings(angular_cutoff=4.0),
    "equivariant": EquivariantSettings(max_l=1, radial_width=4),
}


def network(name, box=BOX, copies=1):
    species = torch.tensor([0, 1] * (ATOMS // 2)).repeat(copies)
    size = NetworkSize(species, 2, 4, 2, 4, CUTOFF, 1.0, 1, box)
    torch.manual_seed(3)
    return build(name, size, SETTINGS.get(name))


def features(made, positions):
    nothing = torch.zeros_like(positions[None])
    return made(positions[None], nothing, nothing[..., :0])[0]


@pytest.fixture(scope="module")
def positions():
    return torch.tensor(np.random.default_rng(5).random((ATOMS, 3))) @ BOX


@pytest.fixture(params=["painn", "tensornet", pytest.param("equivariant", marks=pytest.mark.needs("e3nn"))])
def name(request):
    return request.param


def test_images_of_atoms_change_nothing(name, positions):
    made = network(name)
    steps = torch.tensor(np.random.default_rng(1).integers(-3, 4, (ATOMS, 3)), dtype=torch.float64)
    first = features(made, positions)
    assert first.std() > 1e-2
    moved = positions + steps @ BOX + torch.tensor([0.3, -7.0, 2.0])  # and all atoms together
    torch.testing.assert_close(features(made, moved), first, atol=1e-12, rtol=0)


def test_two_cells_side_by_side_have_the_features_of_one(name, positions):
    first = features(network(name), positions)
    for k in range(3):
        wide = BOX.clone()
        wide[k] *= 2
        both = features(network(name, wide, copies=2), torch.cat([positions, positions + BOX[k]]))
        torch.testing.assert_close(both, first.repeat(2, 1), atol=1e-12, rtol=0)


def test_a_wide_box_is_no_box(name, positions):
    wide = features(network(name, 100 * torch.eye(3, dtype=torch.float64)), positions)
    torch.testing.assert_close(wide, features(network(name, None), positions), atol=1e-12, rtol=0)
    assert (features(network(name), positions) - wide).abs().max() > 1e-3


def test_forces_are_slopes_of_the_energy(name, positions):
    made = network(name)
    energy = lambda place: torch.sin(features(made, place)).sum()  # noqa: E731
    place = positions.clone().requires_grad_()
    (slope,) = torch.autograd.grad(energy(place), place)
    step = 1e-4
    for atom, axis in ((0, 0), (2, 1), (5, 2)):
        shift = torch.zeros_like(positions)
        shift[atom, axis] = step
        with torch.no_grad():
            found = (energy(positions + shift) - energy(positions - shift)) / (2 * step)
        assert float(found) == pytest.approx(float(slope[atom, axis]), abs=1e-6)
    assert slope.sum(0).abs().max() < 1e-10  # nothing pulls the cell as a whole


def test_no_image_within_the_cutoff_is_missed():
    """Against all 125 images one by one, in a box just high enough for the cutoff."""
    height = float((1 / torch.linalg.inv(BOX).norm(dim=0)).min())
    cutoff = 0.4999 * height
    positions = torch.tensor(np.random.default_rng(2).random((1, 12, 3))) @ BOX
    found = DensePairs(12, 3, cutoff, BOX)(positions)
    steps = torch.tensor(list(itertools.product(range(-2, 3), repeat=3)), dtype=torch.float64)
    alone = DensePairs(2, 3, cutoff)
    for i, j in itertools.combinations(range(12), 2):
        here = positions[0, i].expand(len(steps), 3)
        pairs = alone(torch.stack([here, positions[0, j] + steps @ BOX], dim=1))
        waves = pairs.waves[:, 0, 1]
        assert int((waves != 0).any(1).sum()) <= 1
        torch.testing.assert_close(found.waves[0, i, j], waves.sum(0), atol=1e-12, rtol=0)
        near = int(waves.abs().sum(1).argmax())
        if waves[near].abs().max() > 0:
            torch.testing.assert_close(found.unit[0, i, j], pairs.unit[near, 0, 1], atol=1e-12, rtol=0)


def test_a_box_too_small_for_the_cutoff_is_refused():
    with pytest.raises(InputError, match=r"4\.76 A apart is too small for a cutoff of 2\.65 A"):
        DensePairs(2, 3, 5.0, 9.0 * torch.eye(3, dtype=torch.float64))


def test_a_flat_box_is_refused():
    with pytest.raises(InputError, match="span no volume"):
        DensePairs(2, 3, 5.0, torch.zeros(3, 3, dtype=torch.float64))


def test_symmetry_functions_are_refused_in_a_box():
    with pytest.raises(InputError, match="knows no periodic box"):
        network("acsf")
