"""Second-order SCF and stability, on a bond that is nearly broken."""

import numpy as np
import pytest
from pyscf import dft

from drupe.embedding import Level, Partition, label
from drupe.embedding.meanfield.newton import check_stable, second_order
from drupe.embedding.meanfield.qmmm import run_dft
from drupe.errors import ConvergenceError, InputError

NONE = (np.zeros((0, 3)), np.zeros(0))
TIGHT = {"scf_tolerance": 1e-11, "gradient_tolerance": 1e-6, "auxbasis": None, "grid": 1}


@pytest.mark.parametrize(
    ("atoms", "multiplicity"), [("8 0 0 0; 1 .76 0 .59; 1 -.76 0 .59", 1), ("7 0 0 0; 1 1 0 0", 3)]
)
def test_it_is_the_same_scf(build, atoms, multiplicity):
    system = build(atoms, [(0.4, 3, 1, 0)])
    n = int((system.numbers > 0).sum())
    given = (
        system.numbers[:n],
        system.positions[:n],
        0,
        multiplicity,
        system.positions[n:],
        system.charges[n:],
    )
    one, other = (run_dft(*given, Level("PBE", "6-31G", scf=scf, **TIGHT)) for scf in ("diis", "newton"))
    assert other.energy == pytest.approx(one.energy, abs=1e-9)
    assert sum(other.terms.values()) == pytest.approx(other.energy, abs=1e-9)
    assert 0 < other.iterations < one.iterations
    for found, wanted in zip(other.forces(), one.forces(), strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)


def test_a_saddle_point_is_refused_and_left_behind(build):
    """Stretched H2: the symmetric solution is a saddle point of the unrestricted energy."""
    system = build("1 0 0 0; 1 0 0 3.2")
    level = Level("PBE", "6-31G", **TIGHT)
    field = run_dft(system.numbers, system.positions, 0, 1, *NONE, level)
    saddle = field.engine.to_uks()
    saddle.kernel(dm0=saddle.make_rdm1())
    with pytest.raises(ConvergenceError, match="saddle point") as caught:
        check_stable(saddle, level)
    assert "newton" in caught.value.remedy
    before = saddle.e_tot
    assert isinstance(saddle, dft.uks.UKS)
    assert second_order(saddle, saddle.make_rdm1()) > 0
    assert saddle.e_tot < before - 1e-3
    check_stable(saddle, level)


def test_the_name_of_the_scf_is_checked(build):
    with pytest.raises(InputError, match="scf='soscf'"):
        Level("PBE", "6-31G", scf="soscf")
    system = build("8 0 0 0; 1 .76 0 .59; 1 -.76 0 .59")
    partition = Partition.select(system, qm=[0, 1, 2], charge=0)
    with pytest.raises(ConvergenceError, match="did not converge"):
        label(system, partition, Level("PBE", "6-31G", scf="newton", max_cycles=1, **TIGHT))
