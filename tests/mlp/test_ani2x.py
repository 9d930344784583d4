"""The ANI-2x baseline on a random model of its shape: real weights are not on a test machine."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from drupe.errors import InputError
from drupe.mlp import Committee, Dataset
from drupe.mlp.ani2x import Ani2x
from drupe.mlp.ani2x_energy import Ani2xEnergy, untrained_ani2x
from drupe.mlp.evaluation import evaluate
from drupe.mlp.potential import Potential
from drupe.mlp.training_set import prepare
from drupe.units import angstrom


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("torchani")
    (place / "StateDicts").mkdir()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(untrained_ani2x().state_dict(), place / "StateDicts" / "ani2x_state_dict.pt")
    return place


@pytest.fixture
def there(folder, monkeypatch):
    monkeypatch.setenv("TORCHANI_DATA_DIR", str(folder))
    return folder


def test_energy_is_torchanis_own_in_hartree_and_angstrom(there, ligand):
    model = untrained_ani2x()
    model.load_state_dict(torch.load(there / "StateDicts" / "ani2x_state_dict.pt", weights_only=True))
    place = torch.tensor(ligand.positions[None])
    want = model.double()((torch.tensor(ligand.numbers[None]), place / angstrom)).energies
    found = Ani2xEnergy(Ani2x.of_atoms(ligand.numbers))(place)
    assert found.numpy() == pytest.approx(want.detach().numpy(), abs=1e-12)
    assert -320 < float(found) < -290  # xylene in wB97X/6-31G(d): the self energies are in it


def test_potential_on_it_has_forces_of_its_energy_and_is_stored_by_name(there, random_members, scene):
    numbers = random_members[0].header.numbers
    header = dataclasses.replace(random_members[0].header, baseline=Ani2x.of_atoms(numbers))
    potential = Potential(header)
    committee = Committee.from_bytes(Committee((potential.stored(),)).to_bytes())
    assert committee.header.baseline.weights == header.baseline.weights
    assert sum(value.size for value in potential.stored().weights.values()) < 10_000  # none of ANI's
    qm, mm, charges = scene
    made = committee.evaluate(qm, mm, charges, fixed_coulomb=False)
    step = 5e-4  # bohr: symmetry functions are narrow

    def energy(shift):
        moved = qm.copy()
        moved[3, 1] += shift * step
        return evaluate(potential, moved, mm, charges, fixed_coulomb=False).energies[0]

    slope = (8 * (energy(1) - energy(-1)) - (energy(2) - energy(-2))) / (12 * step)
    assert -made.forces_qm[3, 1] == pytest.approx(slope, abs=1e-8)


def test_training_subtracts_it(there, labels):
    data = Dataset.from_labels(labels[:2], which="low")
    baseline = Ani2x.of_atoms(data.numbers)
    plain, less = prepare(data, None, 2.0), prepare(data, baseline, 2.0)
    place = torch.tensor(data.positions).requires_grad_()
    energy = Ani2xEnergy(baseline)(place)
    (slope,) = torch.autograd.grad(energy.sum(), place)
    assert (plain.energy - less.energy).numpy() == pytest.approx(energy.detach().numpy(), abs=1e-9)
    assert (less.forces - plain.forces).numpy() == pytest.approx(slope.numpy(), abs=1e-9)


def test_missing_weights_say_where_they_are_looked_for_and_fetch_nothing(tmp_path, monkeypatch):
    import huggingface_hub

    def no_network(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    monkeypatch.setattr("torchani.arch.hf_hub_download", no_network)
    monkeypatch.setenv("TORCHANI_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match="StateDicts/ani2x_state_dict.pt") as caught:
        Ani2x.of_atoms([8, 1, 1])
    assert "TORCHANI_DATA_DIR" in caught.value.remedy
    assert not list(tmp_path.iterdir())  # not even the folder is made


def test_refuses_other_weights_elements_atoms_and_charges(there, random_members):
    header = random_members[0].header
    with pytest.raises(InputError, match=r"atomic numbers \[35\]"):
        Ani2x.of_atoms([35, 1])
    with pytest.raises(InputError, match="not those of this baseline"):
        Ani2xEnergy(Ani2x(header.numbers, "0" * 64))
    with pytest.raises(InputError, match="baseline is of the atoms"):
        dataclasses.replace(header, baseline=Ani2x.of_atoms(header.numbers[::-1]))
    with pytest.raises(InputError, match="neutral molecules"):
        dataclasses.replace(header, baseline=Ani2x.of_atoms(header.numbers), total_charge=1)


class Payload:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps(Payload())])
def test_refuses_damaged_and_evil_files(tmp_path, monkeypatch, content, capsys):
    monkeypatch.setenv("TORCHANI_DATA_DIR", str(tmp_path))
    (tmp_path / "StateDicts").mkdir()
    (tmp_path / "StateDicts" / "ani2x_state_dict.pt").write_bytes(content)
    with pytest.raises(InputError, match="does not hold the weights of ANI-2x"):
        Ani2xEnergy(Ani2x.of_atoms(np.array([8, 1, 1])))
    assert "ran" not in capsys.readouterr().out
