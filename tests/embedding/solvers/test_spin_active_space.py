"""Active spaces of open shells against PySCF on whole molecules, and inside a radical."""

import dataclasses

import numpy as np
import pytest
from pyscf import gto, mcscf, mp, scf
from scipy.linalg import expm

from drupe.embedding import Level, Partition, label
from drupe.embedding.regions.partition import CoreSpec
from drupe.embedding.solvers.hamiltonian import EmbeddedHamiltonian, solve
from drupe.embedding.solvers.spin_hamiltonian import UnrestrictedHamiltonian
from drupe.embedding.solvers.spin_solvers import solve_unrestricted
from drupe.errors import ConvergenceError, InputError


def exact_tensor(mol):
    values, vectors = np.linalg.eigh(mol.intor("int2e").reshape(mol.nao**2, -1))
    kept = values > 1e-13
    return (vectors[:, kept] * np.sqrt(values[kept])).T.reshape(-1, mol.nao, mol.nao)


def hamiltonian_of(mol, orbitals):
    h, tensor = scf.hf.get_hcore(mol), exact_tensor(mol)
    return UnrestrictedHamiltonian(
        tuple(c.T @ h @ c for c in orbitals),
        tuple(c.T @ (tensor @ c) for c in orbitals),
        *mol.nelec,
        mol.energy_nuc(),
    )


@pytest.fixture(scope="module")
def amidogen():
    mol = gto.M(atom="N 0 0 0; H -.5 .8 .3; H -.5 -.8 .3", spin=1, basis="6-31g", verbose=0)
    mean_field = scf.UHF(mol).run(conv_tol=1e-13)
    return mol, mean_field, hamiltonian_of(mol, mean_field.mo_coeff)


def natural_orbitals(mol, mean_field):
    """UMP2 natural orbitals of each spin, occupied and virtual ones apart."""
    orbitals = np.array(mean_field.mo_coeff)
    for c, density, n in zip(orbitals, mp.UMP2(mean_field).run().make_rdm1(), mol.nelec, strict=True):
        for part in (slice(None, n), slice(n, None)):
            c[:, part] = c[:, part] @ np.linalg.eigh(density[part, part])[1][:, ::-1]
    return orbitals


@pytest.mark.parametrize(("method", "engine"), [("CASCI", mcscf.UCASCI), ("CASSCF", mcscf.UCASSCF)])
@pytest.mark.parametrize(("space", "active"), [((3, 3), (2, 1)), ((5, 5), (3, 2))])
def test_they_are_the_library_s_own_on_a_molecule(amidogen, method, engine, space, active):
    mol, mean_field, system = amidogen
    reference = engine(mean_field, space[1], active)
    reference.fcisolver.conv_tol = 1e-12
    if method == "CASSCF":
        reference.conv_tol, reference.scale_restoration = 1e-10, 0.5
    start = natural_orbitals(mol, mean_field)
    solutions = [reference.kernel(start)[0]]
    random = np.random.default_rng(5)
    for _ in range(8 if method == "CASSCF" else 0):  # it has several solutions, and no search finds all
        angles = random.normal(scale=0.15, size=start.shape)
        reference.ci = None
        energy = reference.kernel(start @ expm(angles - np.swapaxes(angles, 1, 2)))[0]
        solutions += [energy] if reference.converged else []
    found = solve_unrestricted(system, method, active_space=space, tolerance=1e-10)
    # 1e-7: CASSCF is quadratic in the orbital gradient, whose threshold is the root of the tolerance.
    assert min(abs(found.energy - energy) for energy in solutions) < 1e-7
    assert found.energy < solutions[0] + 1e-7
    assert found.reference == pytest.approx(mean_field.e_tot, abs=1e-9)
    assert found.correlation < -0.005


def test_a_closed_shell_gives_the_restricted_energies():
    mol = gto.M(atom="N 0 0 0; N 0 0 1.1", basis="6-31g", verbose=0)
    c = scf.RHF(mol).run(conv_tol=1e-13).mo_coeff
    paired = hamiltonian_of(mol, (c, c))
    restricted = EmbeddedHamiltonian(paired.h[0], paired.tensor[0], 14, mol.energy_nuc())
    for method in ("CASCI", "CASSCF"):
        options = {"active_space": (6, 6), "tolerance": 1e-10}
        wanted = solve(restricted, method, **options).energy
        assert solve_unrestricted(paired, method, **options).energy == pytest.approx(wanted, abs=1e-7)


def test_a_full_active_space_is_full_ci():
    mol = gto.M(atom="O 0 0 0; H 0 0 .97", spin=1, basis="sto-3g", verbose=0)
    system = hamiltonian_of(mol, scf.UHF(mol).run(conv_tol=1e-13).mo_coeff)
    exact = solve_unrestricted(system, "FCI").energy
    for method in ("CASCI", "CASSCF"):
        found = solve_unrestricted(system, method, active_space=(9, 6)).energy
        assert found == pytest.approx(exact, abs=1e-8)


def test_bases_of_unequal_size_are_one_problem(amidogen):
    """A beta orbital is taken away: it is not in the energy, and nothing stands in its place."""
    mol, mean_field, whole = amidogen
    alpha, beta = mean_field.mo_coeff
    fewer = hamiltonian_of(mol, (alpha, beta[:, :-1]))
    assert fewer.sizes == (13, 12)
    h, tensor = np.array(whole.h[1]), np.array(whole.tensor[1])
    # The same with the orbital still there, but far above all others and without interaction.
    h[-1], h[:, -1], tensor[:, -1], tensor[:, :, -1] = 0.0, 0.0, 0.0, 0.0
    h[-1, -1] = 1e3
    lifted = UnrestrictedHamiltonian((whole.h[0], h), (whole.tensor[0], tensor), *mol.nelec, mol.energy_nuc())
    for method in ("CASCI", "CASSCF"):
        options = {"active_space": (5, 5), "tolerance": 1e-10}
        one, other, most = (
            solve_unrestricted(system, method, **options).energy for system in (fewer, lifted, whole)
        )
        assert one == pytest.approx(other, abs=1e-8)
        assert abs(one - most) > 1e-6
        with pytest.raises(InputError, match="in 13 and 12 orbitals"):
            solve_unrestricted(fewer, method, active_space=(9, 13))


def test_a_frozen_core_and_no_beta_electrons_are_fine(amidogen):
    _, _, system = amidogen
    # The 1s orbital is inactive in any case; frozen, it keeps its Hartree-Fock shape.
    loose, held = (
        solve_unrestricted(system, "CASSCF", active_space=(5, 5), n_frozen=n).energy for n in (0, 1)
    )
    assert 0 <= held - loose < 1e-3
    helium = gto.M(atom="He 0 0 0", spin=2, basis="cc-pvdz", verbose=0)
    triplet = hamiltonian_of(helium, scf.UHF(helium).run(conv_tol=1e-13).mo_coeff)
    exact = solve_unrestricted(triplet, "FCI").energy
    assert solve_unrestricted(triplet, "CASCI", active_space=(2, 5)).energy == pytest.approx(exact, abs=1e-9)


def test_an_active_space_that_does_not_fit_is_refused(amidogen):
    _, _, system = amidogen
    for space in (None, (4, 4), (11, 8), (3, 1), (9, 14)):
        with pytest.raises(InputError, match="active"):
            solve_unrestricted(system, "CASSCF", active_space=space)
    with pytest.raises(InputError, match="NEVPT2 needs one set of orbitals for both spins"):
        solve_unrestricted(system, "CASSCF+NEVPT2", active_space=(3, 3))
    with pytest.raises(ConvergenceError, match="active space"):
        solve_unrestricted(system, "CASSCF", active_space=(5, 5), max_cycles=1)
    wide = UnrestrictedHamiltonian((np.eye(40),) * 2, (np.zeros((1, 40, 40)),) * 2, 20, 20)
    with pytest.raises(InputError, match="determinants"):
        solve_unrestricted(wide, "CASCI", active_space=(14, 14))
    methylene = gto.M(atom="N 0 0 0", spin=3, basis="6-31g", verbose=0)
    atom = hamiltonian_of(methylene, scf.UHF(methylene).run(conv_tol=1e-13).mo_coeff)
    with pytest.raises(InputError, match="splits natural orbitals of equal occupation"):
        solve_unrestricted(atom, "CASCI", active_space=(3, 4))


def test_active_spaces_work_in_a_core_of_a_radical(build):
    """Hydroxymethyl in charges, its methylene as the core: between Hartree-Fock and full CI, and up to it."""
    system = build(
        "6 0 0 0; 8 1.36 0 0; 1 1.67 .9 .1; 1 -.5 .93 .2; 1 -.55 -.92 .2",
        [(0.7, 2.6, -1.6, 0.3), (-0.8, -2.5, -1.9, 0.6)],
    )
    partition = Partition.select(
        system, qm=range(5), charge=0, multiplicity=2, cores=[CoreSpec([0, 3, 4], multiplicity=2)]
    )
    level = Level(
        "PBE", "STO-3G", core="FCI", virtual_shells=None, n_occupied=((4, 3),), forces="none", grid=1
    )
    exact = label(system, partition, level).cores[0]
    n = exact.n_occupied[0] + exact.n_virtual[0]
    assert exact.n_virtual[0] - exact.n_virtual[1] == -1  # and as many orbitals of each spin
    for method, space in (("CASCI", (7, n)), ("CASSCF", (7, n)), ("CASSCF", (3, 3))):
        chosen = dataclasses.replace(level, core=method, active_space=space)
        found = label(system, partition, chosen, check=True).cores[0]
        if space == (7, n):
            assert found.correction == pytest.approx(exact.correction, abs=1e-8)
        else:
            assert found.e_hf > found.e_hf + found.e_corr > exact.e_hf + exact.e_corr
            assert found.mp2_truncation == 0.0
    for space, wrong in (((4, 4), "multiplicity 2"), (None, "needs an active space")):
        with pytest.raises(InputError, match=wrong):
            label(system, partition, dataclasses.replace(level, core="CASSCF", active_space=space))


def test_one_electron_has_no_natural_orbitals_to_split():
    mol = gto.M(atom="H", basis="6-31g", spin=1, verbose=0)
    mean_field = scf.UHF(mol).run(conv_tol=1e-12)
    found = solve_unrestricted(hamiltonian_of(mol, mean_field.mo_coeff), "CASCI", active_space=(1, 1))
    assert found.energy == pytest.approx(mean_field.e_tot, abs=1e-10)
