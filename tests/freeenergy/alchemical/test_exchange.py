"""Exchange of states against enumerated probabilities, and whole runs against exact free energies."""

import itertools

import numpy as np
import openmm
import pytest

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.alchemical.exchange import exchange, neighbour_acceptance
from drupe.freeenergy.alchemical.exchange_dynamics import read_phase, set_phase
from drupe.freeenergy.alchemical.exchange_run import run_iterations
from drupe.freeenergy.alchemical.leg_estimate import estimate
from drupe.freeenergy.alchemical.leg_tables import joined
from drupe.freeenergy.alchemical.replicas import Phase, Replicas
from drupe.freeenergy.simulation.dynamics import langevin_context
from drupe.records import pack, unpack
from drupe.units import kj_per_mol, kt

SPRINGS = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
EXACT = np.array([0.0, 0.34657, 0.69315, 1.03972, 1.38629])  # kT per dimension: ln(K) / 2


class ExactDraws:
    """Independent draws from harmonic oscillators instead of dynamics; one dimension per coordinate."""

    def __init__(self, springs, seed):
        self.springs, self.rng = springs, np.random.default_rng(seed)

    def move(self, phase, state, n_steps):
        x = self.rng.normal(scale=self.springs[state] ** -0.5, size=phase.positions.shape)
        return Phase(x, phase.velocities), 0.5 * self.springs * (x**2).sum()


class HarmonicDynamics:
    """Langevin dynamics of one particle in OpenMM, in any of the wells."""

    temperature_k = 300.0

    def __init__(self, springs, seed):
        self.springs = springs
        kappa = kt(self.temperature_k) / kj_per_mol / 0.05**2  # width 0.05 nm at K = 1
        self.kappa = kappa
        system = openmm.System()
        system.addParticle(20.0)
        force = openmm.CustomExternalForce(f"0.5*K*{kappa!r}*(x*x+y*y+z*z)")
        force.addGlobalParameter("K", 1.0)
        force.addParticle(0, [])
        system.addForce(force)
        self.context = langevin_context(
            system, np.zeros((1, 3)), temperature_k=self.temperature_k, step_fs=10.0, friction_per_ps=20.0,
            seed=seed, platform="Reference",
        )  # fmt: skip

    def move(self, phase, state, n_steps):
        self.context.setParameter("K", float(self.springs[state]))
        set_phase(self.context, phase)
        self.context.getIntegrator().step(n_steps)
        after = read_phase(self.context)
        self.context.setParameter("K", 1.0)
        plain = self.context.getState(energy=True).getPotentialEnergy()._value
        return after, self.springs * plain / (kt(self.temperature_k) / kj_per_mol)


def at_rest(count, dimensions=1):
    still = np.zeros((count, dimensions, 3))
    return Replicas(still, still, None, np.arange(count), 0)


@pytest.mark.parametrize("method", ["gibbs", "neighbours"])
def test_states_are_drawn_with_their_probability_given_the_configurations(method):
    rng = np.random.default_rng(1)
    u = rng.normal(scale=1.5, size=(3, 3))
    permutations = list(itertools.permutations(range(3)))
    weight = np.exp([-sum(u[s[r], r] for r in range(3)) for s in permutations])
    exact = weight / weight.sum()
    assert exact.max() < 0.8  # no case in which nothing moves
    state_of, counts, draws = np.arange(3), dict.fromkeys(permutations, 0), 6000
    for _ in range(draws):
        state_of = exchange(u, state_of, method, rng)
        counts[tuple(state_of.tolist())] += 1
    found = np.array([counts[s] for s in permutations]) / draws
    # Neighbour swaps make a correlated chain: 5 standard errors at a statistical inefficiency of 10.
    spread = np.sqrt(exact * (1 - exact) * (1 if method == "gibbs" else 10) / draws)
    assert (np.abs(found - exact) < 5 * spread).all()


def test_one_gibbs_draw_forgets_where_it_came_from():
    u = np.zeros((5, 5))
    rng = np.random.default_rng(2)
    ends = [exchange(u, np.arange(5), "gibbs", rng)[0] for _ in range(2000)]
    # All states equally likely for replica 0: 5 standard errors of 2000 draws.
    assert np.abs(np.bincount(ends, minlength=5) / 2000 - 0.2).max() < 5 * np.sqrt(0.16 / 2000)


def test_a_swap_that_costs_a_lot_is_never_made_and_one_that_gains_always():
    rng = np.random.default_rng(3)
    u = np.array([[0.0, 800.0], [800.0, 0.0]])
    assert all(exchange(u, [0, 1], "gibbs", rng).tolist() == [0, 1] for _ in range(50))
    assert all(exchange(u, [1, 0], "gibbs", rng).tolist() == [0, 1] for _ in range(50))


def test_the_mean_acceptance_is_that_of_counted_swaps():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 4000)) / np.sqrt([[1.0], [4.0]])
    u = np.array([0.5 * np.outer([1.0, 4.0], x[k] ** 2) for k in range(2)])
    counted = []
    for n in range(4000):
        while True:  # a coin may choose the odd pairs, of which there are none
            before = rng.bit_generator.state
            if rng.integers(2) == 0:
                rng.bit_generator.state = before
                break
        counted.append(exchange(u[:, :, n].T, [0, 1], "neighbours", rng)[0] == 1)
    expected = neighbour_acceptance(u)[0]
    assert 0.3 < expected < 0.95
    assert np.mean(counted) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 4000))


@pytest.mark.parametrize(
    ("u", "states", "word"),
    [
        (np.zeros((2, 2)), [0, 0], "every state once"),
        (np.zeros((2, 3)), [0, 1], "come with the states"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), [0, 1], "replica 1 in state 0"),
    ],
)
def test_bad_input_is_named(u, states, word):
    with pytest.raises(InputError, match=word):
        exchange(u, states, "gibbs", np.random.default_rng(0))


@pytest.mark.reference
@pytest.mark.parametrize("method", ["gibbs", "neighbours"])
def test_harmonic_oscillators_have_their_exact_free_energies_with_exact_draws(method):
    _, tables = run_iterations(ExactDraws(SPRINGS, 5), at_rest(5, 1), 1500, 1, method, 6)
    found, checks = estimate(tables)
    # 3 coordinates; four standard errors, 2e-5 for the digits of the constants.
    assert (np.abs(found.values - 3 * EXACT) <= 4 * found.errors + 2e-5).all()
    assert found.errors.max() < 0.1
    assert checks.mixing.round_trips > 10
    assert checks.verdict.level == "PASS"


@pytest.mark.reference
def test_harmonic_oscillators_have_their_exact_free_energies_with_openmm_dynamics():
    _, tables = run_iterations(HarmonicDynamics(SPRINGS, 7), at_rest(5), 600, 25, "gibbs", 8)
    found, checks = estimate(tables)
    # The integrator samples harmonic positions exactly at any step, so 3 ln(K) / 2 holds to the errors.
    assert (np.abs(found.values - 3 * EXACT) <= 4 * found.errors + 2e-5).all()
    assert found.errors.max() < 0.15
    assert checks.mixing.second < 0.9
    # Each well keeps its own width whatever replica comes by: <u> = 3/2 kT within 5 standard errors.
    own = np.array([tables.u[k, k].mean() for k in range(5)])
    assert own == pytest.approx(np.full(5, 1.5), abs=5 * np.sqrt(1.5 / 600 * 3))


def test_cutting_a_run_into_stretches_changes_no_bit():
    class Drift:
        """Deterministic motion that depends on the state and on where the replica is."""

        def move(self, phase, state, n_steps):
            x = np.cos(phase.positions + 0.3 * (state + 1) * n_steps)
            return Phase(x, phase.velocities + 1.0), 1.5 * np.arange(1, 5) * float((x**2).sum())

    start = Replicas(np.linspace(0, 1, 12).reshape(4, 1, 3), np.zeros((4, 1, 3)), None, [2, 0, 3, 1], 0)
    whole, tables = run_iterations(Drift(), start, 9, 2, "gibbs", 11)
    parts, last = [], start
    for length in (4, 1, 4):
        last, part = run_iterations(Drift(), unpack(pack(last)), length, 2, "gibbs", 11)
        parts.append(part)
    again = joined(parts)
    assert again.u.tobytes() == tables.u.tobytes()
    assert again.state_of.tolist() == tables.state_of.tolist()
    assert pack(last) == pack(whole)
    assert whole.age == 9
    assert len({tuple(row) for row in tables.state_of.tolist()}) > 3  # there were exchanges
    other, _ = run_iterations(Drift(), start, 9, 2, "gibbs", 12)
    assert other.state_of.tolist() != whole.state_of.tolist() or pack(other) != pack(whole)


def test_a_frame_stands_in_the_row_of_the_state_it_was_sampled_in():
    class Marks:
        def move(self, phase, state, n_steps):
            return phase, np.full(3, 10.0 * state) + phase.positions[0, 0]

    start = Replicas(np.arange(9.0).reshape(3, 1, 3), np.zeros((3, 1, 3)), None, [1, 2, 0], 0)
    _, tables = run_iterations(Marks(), start, 5, 1, "gibbs", 1)
    for n, states in enumerate(tables.state_of):
        for replica, state in enumerate(states):
            assert tables.u[state, :, n].tolist() == [10.0 * state + 3.0 * replica] * 3


def test_a_state_whose_dynamics_blow_up_is_named():
    class Bomb:
        def move(self, phase, state, n_steps):
            if state == 1:
                raise ConvergenceError("the dynamics blew up", remedy="take a shorter step")
            return phase, np.zeros(2)

    with pytest.raises(ConvergenceError, match="in state 1, the dynamics blew up"):
        run_iterations(Bomb(), at_rest(2), 1, 1, "gibbs", 1)


def test_replicas_that_are_not_whole_are_refused():
    still = np.zeros((2, 4, 3))
    for states in ([0, 0], [0, 2], [0]):
        with pytest.raises(InputError, match="every state once"):
            Replicas(still, still, None, states, 3)
    with pytest.raises(InputError, match="positions, velocities"):
        Replicas(still, still[:, :3], None, [0, 1], 3)
    broken = still.copy()
    broken[1, 2, 0] = np.nan
    with pytest.raises(ConvergenceError, match="of age 3"):
        Replicas(broken, still, None, [0, 1], 3)


@pytest.mark.parametrize(("n", "method"), [(0, "gibbs"), (1, "swap")])
def test_settings_that_make_no_run_are_refused(n, method):
    with pytest.raises(InputError):
        run_iterations(ExactDraws(SPRINGS, 1), at_rest(5), n, 1, method, 1)
