"""Published MM -> ANI-2x end-state corrections of four TYK2 ligands, from their published works.

`tyk2_works.npz` holds the works of ligands 0 to 3, some 200 or 700 per direction and leg, in 1e-4 kT, to
which they are rounded (Rufa et al., bioRxiv 2020.07.29.227959; the qmlify data set). An absolute energy is
taken out of each ligand and stands beside it: complex and solvent keep their own.
"""

from pathlib import Path

import numpy as np
import pytest

from drupe.freeenergy.estimation.estimators import bar
from drupe.freeenergy.outcomes.corrections import end_state_correction

pytestmark = pytest.mark.reference

#: Value and error of each leg, kT.
PUBLISHED = {
    0: {"complex": (-1868264.481208, 0.0158131), "solvent": (-1868269.517614, 0.0597294)},
    1: {"complex": (-2047008.329402, 0.0305110), "solvent": (-2047010.553134, 0.1272580)},
    2: {"complex": (-1947482.676167, 0.0492269), "solvent": (-1947486.344571, 0.1285003)},
    3: {"complex": (-1949938.101339, 0.0262334), "solvent": (-1949939.559695, 0.1082660)},
}
#: Complex less solvent, kT.
CORRECTIONS = {0: 5.036, 1: 2.224, 2: 3.668, 3: 1.458}
LEGS = ("complex", "solvent")


@pytest.fixture(scope="module")
def works():
    """Forward and reverse works of a leg of a ligand, kT, with their absolute energies."""
    stored = np.load(Path(__file__).with_name("tyk2_works.npz"))

    def of(ligand, leg):
        absolute = float(stored[f"{ligand}_absolute"])
        forward, reverse = (stored[f"{ligand}_{leg}_{way}"] * 1e-4 for way in ("forward", "reverse"))
        return forward + absolute, reverse - absolute

    return of


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("ligand", PUBLISHED)
def test_each_leg(works, ligand, leg):
    # 1e-4 kT, the rounding of the works.
    got = bar(*works(ligand, leg), seed=1)
    assert got.value == pytest.approx(PUBLISHED[ligand][leg][0], abs=1e-4)


@pytest.mark.parametrize("ligand", PUBLISHED)
def test_the_correction(works, ligand):
    got = end_state_correction(*works(ligand, "complex"), *works(ligand, "solvent"), 300.0, seed=1)
    assert got.difference.value == pytest.approx(CORRECTIONS[ligand], abs=1e-3)  # given to three decimals


def test_works_of_the_other_leg_flip_the_verdict(works):
    # The two legs are only 1.5 kT apart: the second law and the overlap alone do not notice.
    forward, reverse = works(3, "complex")
    assert bar(forward, reverse, seed=1).verdict.level == "PASS"
    mixed = bar(forward, works(3, "solvent")[1], seed=1).verdict
    assert mixed.level == "FAIL"
    assert "do not belong together" in mixed.reasons[0]


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("ligand", PUBLISHED)
def test_published_errors_are_too_small_by_the_square_root_of_two(works, ligand, leg):
    # 2 %: they use another formula (pymbar's BAR), equal for good overlap.
    formula = bar(*works(ligand, leg), seed=1, n_resamples=1).error
    assert formula == pytest.approx(np.sqrt(2.0) * PUBLISHED[ligand][leg][1], rel=0.02)
