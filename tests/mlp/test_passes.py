"""The frozen graph gives the bits of the network as it is written, whatever the positions."""

import dataclasses
import pickle
import warnings

import numpy as np
import pytest

from drupe.mlp import Committee, passes
from drupe.mlp.potential import Potential


@pytest.fixture
def soon(monkeypatch):
    """Freezes at the third evaluation."""
    monkeypatch.setattr(passes, "_WORTH_IT", 2)


def of_backbone(random_committee, backbone, **changes):
    header = dataclasses.replace(random_committee.header, backbone=backbone, **changes)
    return Committee(tuple(Potential(header, seed=seed).stored() for seed in range(2)))


def evaluated(committee, frames, scene):
    _, mm, charges = scene
    return [committee.evaluate(qm, mm, charges, fixed_coulomb=True) for qm in frames]


@pytest.mark.parametrize("backbone", ["painn", "tensornet"])
@pytest.mark.parametrize("changes", [{}, {"baseline": None}, {"dispersion": "PBE"}])
def test_the_frozen_graph_gives_the_same_bits(random_committee, frames, scene, soon, backbone, changes):
    quick = of_backbone(random_committee, backbone, **changes)
    made = evaluated(quick, frames[:8], scene)
    assert quick.network().frozen
    for found, qm in zip(made, frames, strict=False):
        plain = Committee(quick.members)
        (want,) = evaluated(plain, [qm], scene)
        assert not plain.network().frozen
        for name in ("energies", "forces_qm", "forces_mm", "features"):
            assert np.array_equal(getattr(found, name), getattr(want, name)), name
        for one, other in zip(found.apart(), want.apart(), strict=True):
            assert np.array_equal(one, other)


def test_a_committee_that_runs_from_its_graph_is_pickled_without_it(random_committee, frames, scene, soon):
    quick = Committee(random_committee.members)
    evaluated(quick, frames[:4], scene)
    assert quick.network().frozen
    again = pickle.loads(pickle.dumps(quick))
    assert not again.network().frozen
    assert again.key == quick.key


def test_charges_may_change_in_number_and_vanish(random_committee, frames, scene, soon):
    qm, mm, charges = scene
    quick = Committee(random_committee.members)
    evaluated(quick, frames[:4], scene)
    assert quick.network().frozen
    plain = Committee(random_committee.members)
    for count in (0, 1, 30):
        found, want = (
            one.evaluate(qm, mm[:count], charges[:count], fixed_coulomb=True) for one in (quick, plain)
        )
        assert np.array_equal(found.energies, want.energies)
        assert np.array_equal(found.forces_mm, want.forces_mm)


def test_a_few_predictions_do_not_pay_for_freezing(random_committee, frames, scene):
    fresh = Committee(random_committee.members)
    evaluated(fresh, frames[:20], scene)
    assert not fresh.network().frozen


def test_networks_with_lists_of_neighbours_are_never_frozen(random_committee, frames, scene, soon):
    lists = of_backbone(random_committee, "acsf", settings=None)
    evaluated(lists, frames[:5], scene)
    assert not lists.stack.backbone.static
    assert not lists.network().frozen


def test_freezing_says_nothing_of_deprecations(random_committee, frames, scene, soon):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluated(Committee(random_committee.members), frames[:5], scene)


def test_forces_of_members_average_to_those_of_the_committee(random_committee, scene):
    made = random_committee.evaluate(*scene, fixed_coulomb=True)
    apart = made.apart()
    assert apart.forces_qm.mean(0) == pytest.approx(made.forces_qm, abs=1e-13)
    assert apart.forces_mm.mean(0) == pytest.approx(made.forces_mm, abs=1e-13)
