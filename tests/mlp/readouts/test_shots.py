"""Shot noise of readouts: probabilities against PennyLane, variances against samples, shots for an error."""

import numpy as np
import pytest
import torch

from drupe.errors import InputError
from drupe.freeenergy.estimation.noisy_metropolis import Measured, MetropolisSpec, sample_noisy
from drupe.hardware.circuits import ENTANGLERS, Circuit
from drupe.mlp import Committee
from drupe.mlp.readouts.registry import ReadoutSize, build_readout
from drupe.mlp.readouts.settings import VqcSettings
from drupe.mlp.readouts.shots import bit_strings, measurement
from drupe.mlp.shot_noise import measurement_of
from drupe.units import kt

ATOMS = 4


def readout(entangler, members=2):
    torch.manual_seed(3)
    size = ReadoutSize(features=6, members=members, energy_scale=0.02, energy_bound=0.1)
    made = build_readout("vqc", size, VqcSettings(qubits=4, layers=2, entangler=entangler))
    with torch.no_grad():
        made.weight.copy_(torch.randn(made.weight.shape))
        made.bias.fill_(0.3)
    return made, torch.randn(members, ATOMS, 6, dtype=torch.float64)


@pytest.mark.parametrize("entangler", ENTANGLERS)
def test_probabilities_of_bit_strings_are_those_of_pennylane(entangler):
    import pennylane as qml

    circuit = Circuit(4, 3, entangler)
    rng = np.random.default_rng(1)
    angles, rotations = rng.uniform(-3, 3, (5, 4)), rng.uniform(-3, 3, (3, 4))

    @qml.qnode(qml.device("default.qubit", wires=4 + len(circuit.ancillas)))
    def run():
        for k in range(4):
            qml.RY(angles[:, k], wires=k)
        if circuit.ancillas:
            qml.QFT(wires=circuit.ancillas)
        for layer in rotations:
            for k in range(4):
                qml.RX(layer[k], wires=k)
            for gate in circuit.gates:
                getattr(qml, gate.name)(wires=gate.wires)
        return qml.probs(wires=range(4))

    assert bit_strings(circuit, angles, rotations) == pytest.approx(np.asarray(run()), abs=1e-12)


@pytest.mark.parametrize("entangler", ENTANGLERS)
def test_the_expectation_is_the_energy(entangler):
    made, features = readout(entangler)
    want = float(made(features).detach().sum(1).mean())
    assert measurement([made], [features], -1.5).energy == pytest.approx(want - 1.5, abs=1e-13)


def test_without_gates_the_variance_follows_from_each_expectation():
    made, features = readout("none", members=1)
    weights, _ = (part.detach() for part in made.observable())
    expected = made.angles(features).detach()[0].cos() * made.rotations.detach()[0].sum(0).cos()
    want = (weights**2 * (1 - expected**2)).sum(1).numpy()
    assert measurement([made], [features], 0.0).variances == pytest.approx(want, rel=1e-10)


def test_with_gates_qubits_are_correlated():
    made, features = readout("cx", members=1)
    weights, _ = (part.detach().numpy()[0] for part in made.observable())
    found = measurement([made], [features], 0.0)
    signs = 1 - 2 * (np.arange(16)[:, None] >> np.arange(4)[::-1] & 1)
    expected = found.probabilities @ signs
    alone = (weights**2 * (1 - expected**2)).sum(1)
    assert np.abs(found.variances / alone - 1).max() > 0.05


def test_samples_have_the_mean_and_over_three_decades_the_variance():
    found = measurement(*([one] for one in readout("cz")), 0.2)
    rng = np.random.default_rng(5)
    count = 3000
    for shots in (10, 100, 1000, 10_000):
        made = np.array([found.sample(shots, rng) for _ in range(count)])
        deviation = np.sqrt(found.variance(shots))
        assert abs(made.mean() - found.energy) < 4 * deviation / np.sqrt(count)
        # 5 %: four times the statistical error of a standard deviation from 3000 samples.
        assert made.std(ddof=1) == pytest.approx(deviation, rel=0.05)
        assert deviation == pytest.approx(np.sqrt(found.variance(1) / shots), rel=1e-12)


def test_shots_reach_the_error_they_were_asked_for_and_no_others_do_with_fewer():
    found = measurement(*([one] for one in readout("cx")), 0.0)
    error = 2e-4
    shots = found.shots_for(error)
    assert 0.99 * error < np.sqrt(found.variance(shots)) <= error
    equal = int(np.ceil(found.variance(1) / error**2))
    assert shots.sum() < equal * len(shots)
    rng = np.random.default_rng(6)
    made = np.array([found.sample(shots, rng) for _ in range(3000)])
    assert made.std(ddof=1) == pytest.approx(error, rel=0.06)
    with pytest.raises(InputError, match="standard error of 0"):
        found.shots_for(0.0)
    with pytest.raises(InputError, match=r"takes .*e\+\d+ shots of a circuit"):
        found.shots_for(1e-12)


@pytest.mark.parametrize("shots", [0, -3, 2.5, [10, 10], [10] * 7 + [0]])
def test_shots_that_cannot_be_taken_are_refused(shots):
    found = measurement(*([one] for one in readout("cx")), 0.0)
    assert len(found.values) == 8
    for asked in (found.variance, lambda count: found.sample(count, np.random.default_rng(1))):
        with pytest.raises(InputError, match="shots for 8 circuits"):
            asked(np.array(shots))


def test_a_circuit_that_is_certain_needs_one_shot():
    made, features = readout("none", members=1)
    with torch.no_grad():
        made.rotations.zero_()
        made.angles.weight.zero_()
        made.angles.bias.zero_()
    found = measurement([made], [features], 0.0)
    assert found.variance(1) < 1e-30
    assert found.shots_for(1e-6).tolist() == [1] * ATOMS


def test_energies_of_a_committee_have_a_measurement(hybrid_committee, random_committee, scene):
    found = measurement_of(hybrid_committee, *scene)
    assert found.energy == pytest.approx(hybrid_committee.predict(*scene).energy, abs=1e-13)
    assert len(found.values) == 2 * len(scene[0])
    alone = measurement_of(Committee(hybrid_committee.members[:1]), *scene)
    # The mean of two members has a quarter of both variances.
    other = measurement_of(Committee(hybrid_committee.members[1:]), *scene)
    assert found.variance(1) == pytest.approx((alone.variance(1) + other.variance(1)) / 4, rel=1e-12)
    with pytest.raises(InputError, match="no circuits to measure"):
        measurement_of(random_committee, *scene)


def test_a_molecule_is_sampled_with_as_many_shots_as_its_noise_asks_for(hybrid_committee, scene):
    thermal, wanted, spent = kt(300.0), 0.7, []

    def measure(positions, rng):
        found = [measurement_of(hybrid_committee, qm, *scene[1:]) for qm in positions]
        shots = [one.shots_for(wanted * thermal) for one in found]
        spent.extend(int(one.sum()) for one in shots)
        pairs = list(zip(found, shots, strict=True))
        return Measured(
            np.array([one.sample(n, rng) for one, n in pairs]) / thermal,
            np.array([one.variance(n) for one, n in pairs]) / thermal**2,
        )

    chain = sample_noisy(measure, np.array([scene[0]] * 2), MetropolisSpec(steps=5, move=0.05))
    assert chain.positions.shape == (5, 2, *scene[0].shape)
    # Rounding up to whole shots makes it a little less.
    assert 0.9 * 2 * wanted**2 < chain.noise <= 2 * wanted**2
    assert len(set(spent)) > 1
