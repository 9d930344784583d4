"""Dispersion and novelty where bonds are cut: link atoms count as atoms in both."""

import dataclasses

import numpy as np
import pytest

from drupe.embedding import label
from drupe.mlp import Dataset
from drupe.mlp.dispersion import with_dispersion
from drupe.mlp.training_set import prepare


@pytest.fixture(scope="module")
def held(peptide, labels):
    level = dataclasses.replace(labels["rcd"][0].level, dispersion="d3bj")
    return Dataset.from_labels([label(peptide.at(i), peptide.regions, level) for i in range(2)])


def test_added_dispersion_is_that_of_labels_on_all_hosts(labels, held, terms):
    added = with_dispersion(Dataset.from_labels(labels["rcd"][:2]), "HF")
    assert added.energy == pytest.approx(held.energy, abs=1e-9)
    assert added.forces_qm == pytest.approx(held.forces_qm, abs=1e-7)
    assert added.forces_mm == pytest.approx(held.forces_mm, abs=1e-7)
    plain = Dataset.from_labels(labels["rcd"][:2])
    left = prepare(held, terms, 2.0, dispersion="HF").energy.numpy()
    assert left == pytest.approx(prepare(plain, terms, 2.0).energy.numpy(), abs=1e-9)


def test_a_potential_has_it_on_all_hosts(labels, held, terms, random_model):
    plain = Dataset.from_labels(labels["rcd"][:2])
    without, with_it = (random_model(plain, terms, dispersion=name) for name in (None, "HF"))
    for i in range(2):
        bare, whole = (one.predict(*plain.frame(i)) for one in (without, with_it))
        assert whole.energy - bare.energy == pytest.approx(held.energy[i] - plain.energy[i], abs=1e-9)
        change = held.forces_qm[i] - plain.forces_qm[i], held.forces_mm[i] - plain.forces_mm[i]
        assert whole.forces_qm - bare.forces_qm == pytest.approx(change[0], abs=1e-7)
        count = int(plain.mm_counts[i])
        assert whole.forces_mm - bare.forces_mm == pytest.approx(change[1][:count], abs=1e-7)
        assert np.abs(change[1]).max() > 1e-5  # the MM host feels the link atom's dispersion


def test_link_atoms_are_among_the_atoms_whose_features_are_compared(labels, terms, random_model):
    data = Dataset.from_labels(labels["rcd"][:12])
    committee = random_model(data, terms).referred_to(data)
    assert len(committee.novelty.kinds) == 6
    again = dataclasses.replace(committee, novelty=dataclasses.replace(committee.novelty, edge=1.0))
    place, *others = data.frame(3)
    far = place.copy()
    far[0] += 0.8
    assert again.predict(far, *others).novelty > 2 * again.predict(place, *others).novelty
