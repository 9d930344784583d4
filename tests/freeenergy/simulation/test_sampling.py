import numpy as np
import openmm
import pytest

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.simulation.sampling import SampleSpec, Trajectory, decorrelated, sample
from drupe.records import pack, unpack
from drupe.units import kj_per_mol, kt, nanometer

KT = kt(300.0) / kj_per_mol


def wells(n=40, k=1000.0, constraint=False):
    """Independent particles of 10 amu in harmonic wells of k kJ/mol/nm^2, 1 nm apart."""
    system = openmm.System()
    force = openmm.CustomExternalForce(f"0.5*{k}*((x-x0)^2+y^2+z^2)")
    force.addPerParticleParameter("x0")
    for i in range(n):
        system.addParticle(10.0)
        force.addParticle(i, [float(i)])
    if constraint:
        system.addConstraint(0, 1, 1.0)
    system.addForce(force)
    return system, np.array([[float(i), 0.0, 0.0] for i in range(n)]) * nanometer


def run(system, x, **change):
    spec = SampleSpec(
        **{"step_fs": 4.0, "n_equilibration": 500, "n_frames": 60, "stride": 100, "seed": 7, **change}
    )
    return sample(system, x, spec, platform="Reference")


def test_a_harmonic_well_is_sampled_at_its_temperature():
    system, x = wells()
    found = run(system, x)
    off = (found.positions - x) / nanometer
    # <x^2> = kT/k over 40 x 3 x 60 values; 5 %: three standard errors of a variance from 7200 values,
    # doubled for correlation. A wrong unit or temperature is off by more than 10 %.
    assert off.var() == pytest.approx(KT / 1000.0, rel=0.1)
    # Mean energy 1/2 kT per degree of freedom; its standard error here is about 1 %.
    assert found.potential.mean() == pytest.approx(0.5 * 3 * 40, rel=0.06)


def test_energies_are_those_of_the_kept_frames():
    system, x = wells()
    found = run(system, x, n_frames=3)
    want = 0.5 * 1000.0 * (((found.positions - x) / nanometer) ** 2).sum(axis=(1, 2)) / KT
    assert found.potential == pytest.approx(want, rel=1e-9)  # the same double precision formula


def test_a_run_repeats_bit_for_bit_with_its_seed_and_not_with_another():
    system, x = wells(4)
    first, again, other = (run(system, x, seed=seed, n_frames=2) for seed in (0, 0, 1))
    assert first.positions.tolist() == again.positions.tolist()
    assert first.positions.tolist() != other.positions.tolist()
    assert first.seed == 0


def test_minimisation_goes_downhill_before_the_first_step():
    system, x = wells(4)
    moved = x + 0.3 * nanometer
    held = {"n_equilibration": 0, "n_frames": 1, "stride": 1}
    assert run(system, moved, **held).potential[0] > 100
    assert run(system, moved, **held, minimise=200).potential[0] < 5


def test_progress_is_told_in_steps():
    system, x = wells(2)
    seen = []
    sample(
        system,
        x,
        SampleSpec(n_equilibration=25, n_frames=2, stride=10, step_fs=1.0),
        platform="Reference",
        on_done=seen.append,
    )
    assert seen == [10, 20, 25, 35, 45]


def test_an_explosion_is_an_error_and_leaves_no_trajectory():
    system, x = wells(4, k=1e6)
    with pytest.raises(ConvergenceError, match="blew up"):
        run(system, x, step_fs=200.0)


def test_a_box_that_shrinks_below_two_cutoffs_is_an_error_with_a_remedy():
    """Argon as thin as a gas at 10 kbar in a box that is hardly larger than two cutoffs."""
    system = openmm.System()
    pairs = openmm.NonbondedForce()
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(0.6)
    for _ in range(8):
        system.addParticle(40.0)
        pairs.addParticle(0.0, 0.34, 1.0)
    system.addForce(pairs)
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * 1.22))
    x = 0.61 * nanometer * np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    with pytest.raises(InputError, match="shrank below two cutoffs") as error:
        run(system, x, pressure_bar=1e4)
    assert "larger box" in error.value.remedy


def test_constraints_are_refused():
    system, x = wells(constraint=True)
    with pytest.raises(InputError, match="1 constraints"):
        run(system, x)


def test_atoms_on_top_of_each_other_are_named():
    system = openmm.System()
    force = openmm.NonbondedForce()
    for _ in range(3):
        system.addParticle(12.0)
        force.addParticle(0.0, 0.3, 1.0)
    system.addForce(force)
    x = np.array([[0.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]]) * nanometer
    with pytest.raises(InputError, match=r"1 and 2|2 and 1"):
        run(system, x)


@pytest.mark.parametrize(
    ("x", "message"),
    [(np.zeros((3, 3)), "shape"), (np.full((2, 3), np.nan), "particle 0"), (np.zeros(6), "shape")],
)
def test_bad_positions_are_refused(x, message):
    system, _ = wells(2)
    with pytest.raises(InputError, match=message):
        run(system, x)


@pytest.mark.parametrize("change", [{"n_frames": 0}, {"stride": 0}, {"seed": -1}, {"n_equilibration": -1}])
def test_a_spec_that_cannot_be_run_is_refused(change):
    with pytest.raises(InputError):
        SampleSpec(**change)


def test_a_temperature_of_zero_is_refused():
    system, x = wells(2)
    with pytest.raises(InputError, match="temperature_k"):
        run(system, x, temperature_k=0.0)


def made(energies):
    return Trajectory(np.zeros((len(energies), 1, 3)), np.asarray(energies), SampleSpec(), {})


def test_uncorrelated_energies_keep_their_frames_and_correlated_ones_lose_them():
    rng = np.random.default_rng(2)
    white = rng.normal(size=2000)
    red = np.zeros(4000)
    for i in range(1, 4000):
        red[i] = 0.9 * red[i - 1] + rng.normal()
    free, bound = decorrelated(made(white)), decorrelated(made(red))
    assert free.inefficiency == pytest.approx(1.0, abs=0.15)
    # g = (1 + rho) / (1 - rho) = 19 for a first-order process; 30 %: usual for 200 correlation times.
    assert bound.inefficiency == pytest.approx(19.0, rel=0.3)
    assert len(bound.frames) == pytest.approx(4000 / bound.inefficiency, rel=0.05)


def test_a_run_too_short_to_judge_says_so():
    few = decorrelated(made([1.0, 2.0, 1.5]))
    assert few.inefficiency is None
    assert few.frames.tolist() == [0, 1, 2]


def test_a_trajectory_is_stored_and_read_back():
    system, x = wells(2)
    first = run(system, x, n_frames=2)
    again = unpack(pack(first))
    assert again.positions.tolist() == first.positions.tolist()
    assert again.spec == first.spec
    assert again.versions["platform"] == "Reference"
