import pytest

from drupe.embedding.structures.forcefield import stays_classical
from drupe.errors import InputError

# A chain M3 M2 M1 | Q1 Q2 Q3 with a second MM atom M1' on M1 and Q1' on Q1.
QM = {10, 11, 12, 13}
Q1, Q2, Q3, Q1B = 10, 11, 12, 13
M1, M2, M3, M1B = 0, 1, 2, 3


@pytest.mark.parametrize(
    ("atoms", "stays"),
    [
        ((M1, M2), True),
        ((Q1, Q2), False),
        ((Q1, M1), True),
        ((M2, M1, Q1), True),
        ((M1, Q1, Q2), False),
        ((Q1, Q2, Q3), False),
        ((M3, M2, M1), True),
        ((M3, M2, M1, Q1), True),
        ((M2, M1, Q1, Q2), True),
        ((M1, Q1, Q2, Q3), False),
        ((Q1B, Q1, M1, M1B), True),
        ((Q1B, Q1, Q2, Q3), False),
    ],
)
def test_what_stays_classical_at_a_cut_bond(atoms, stays):
    assert stays_classical(atoms, QM) is stays
    assert stays_classical(atoms[::-1], QM) is stays  # a chain has no direction


def test_other_terms_have_no_rule():
    with pytest.raises(InputError, match="5 atoms"):
        stays_classical((0, 1, 2, 3, 4), QM)
