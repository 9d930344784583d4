"""Replica exchange of a leg as tasks: energies of every state, an exact free energy, stops at any moment."""

import fcntl
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
from scipy.integrate import quad

from drupe.embedding.regions.partition import Partition
from drupe.embedding.structures.masses import with_hydrogen_mass
from drupe.embedding.structures.structure import locate, read_amber
from drupe.errors import InputError
from drupe.freeenergy.alchemical.alchemy import Schedule
from drupe.freeenergy.alchemical.anchors import boresch_coordinates
from drupe.freeenergy.alchemical.decoupling import alchemical_system
from drupe.freeenergy.alchemical.exchange_dynamics import AlchemicalMover, charge_state
from drupe.freeenergy.alchemical.leg_estimate import estimate
from drupe.freeenergy.alchemical.leg_run import leg_run
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.freeenergy.alchemical.stretch import ExchangeStretch
from drupe.freeenergy.campaigns.assembled_trust import restraint_traces
from drupe.freeenergy.campaigns.exchange_stages import (
    ExchangeStage,
    begin_exchange,
    continue_exchange,
)
from drupe.freeenergy.campaigns.preparation import Leg, Prepared
from drupe.freeenergy.campaigns.stages import Place, Snapshots
from drupe.freeenergy.simulation.dynamics import langevin_context, potential_kt
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.freeenergy.tasks.runner import Node, read_result, run_graph
from drupe.hardware.engine import LocalEngine
from drupe.records import pack, unpack
from drupe.store import Store, read_rows
from drupe.units import kcal_per_mol, kj_per_mol, kt

sys.path.insert(0, str(Path(__file__).parents[1]))
from bound_pair import bound_pair

TEMPERATURE = 300.0
KT = kt(TEMPERATURE) / kj_per_mol
PAIR = {"sigma": 0.335, "epsilon": 1.0 * kcal_per_mol / kj_per_mol, "rest": 0.36, "k": 800.0}
STRENGTHS = (1.0, 0.6, 0.3, 0.1, 0.0)
DECOUPLE = Schedule((0,) * 5, (0,) * 5, STRENGTHS)


def prepared_pair():
    structure = bound_pair(**PAIR)
    regions = Partition.select(structure.system, qm=[1], charge=0, multiplicity=1)
    leg = Leg(structure, regions, np.array([1]))
    return Prepared(complex=leg, solvent=leg)


def snapshots_of(prepared):
    x = prepared.solvent.structure.system.positions
    return Snapshots(np.array([x, x]), np.array([0, 1]), 1, 0)


def spec(frames, seed, equilibration=0):
    return SampleSpec(
        step_fs=5.0,
        friction_per_ps=20.0,
        n_equilibration=equilibration,
        n_frames=frames,
        stride=20,
        seed=seed,
    )


def stage(frames, seed, equilibration=0, schedule=DECOUPLE):
    place = Place("Reference", 1)
    return ExchangeStage("solvent", schedule, spec(frames, seed, equilibration), "gibbs", place)


def nodes(stretches=2, frames=4):
    """A chain of stretches, as a campaign has it."""
    call = "drupe.freeenergy.campaigns.exchange_stages"
    made = [Node("solvent/exchange/0/0", "w", f"{call}:begin_exchange", stage(frames, 5, 10), ("p", "s"))]
    for k in range(1, stretches):
        made.append(
            Node(
                f"solvent/exchange/0/{k}",
                "w",
                f"{call}:continue_exchange",
                stage(frames, 5 + k),
                ("p", f"solvent/exchange/0/{k - 1}"),
            )
        )
    return made


class Notes:
    def __init__(self):
        self.begun = []

    def started(self, node):
        self.begun.append(node.name)

    def ended(self, node, row, *, reused):
        pass


def run(folder, graph):
    prepared = prepared_pair()
    notes = Notes()
    with Store(folder) as store:
        engine = LocalEngine(store.scratch, folder / "logs", slots=1, threads=1)
        given = {"p": prepared, "s": snapshots_of(prepared)}
        rows = run_graph(graph, given, store, engine, notes, timeout_s=300)
        records = [read_result(store, rows[node.name]) for node in graph]
    return {name: row.blob for name, row in rows.items()}, records, notes.begun


@pytest.mark.reference
def test_decoupling_a_bound_pair_by_exchange_gives_the_exact_integral():
    # The free energy of removing the Lennard-Jones term is an integral over the distance.
    def weight(r, lj):
        pair = 4 * PAIR["epsilon"] * ((PAIR["sigma"] / r) ** 12 - (PAIR["sigma"] / r) ** 6)
        return r * r * math.exp(-(0.5 * PAIR["k"] * (r - PAIR["rest"]) ** 2 + lj * pair) / KT)

    whole = [quad(weight, 0.1, 1.0, args=(lj,), points=[PAIR["rest"]], limit=200)[0] for lj in (1.0, 0.0)]
    exact = -math.log(whole[1] / whole[0])
    prepared = prepared_pair()
    stretches = [begin_exchange(stage(45, 3, 100), prepared, snapshots_of(prepared))]
    for k in (1, 2):
        stretches.append(continue_exchange(stage(45, 3 + k), prepared, stretches[-1]))
    assert [one.replicas.age for one in stretches] == [45, 90, 135]
    legs = leg_run("solvent", stretches=stretches)
    found, checks = estimate(legs.tables, legs.names)
    assert found.errors[-1] < 0.15
    assert found.values[-1] == pytest.approx(exact, abs=4 * found.errors[-1])
    assert abs(exact) > 1.0  # an alchemical change without effect would give 0
    assert checks.mixing.iterations == 135
    assert checks.mixing.round_trips > 0
    assert found.names[1] == "q0 s0.6"


def test_states_that_share_a_context_have_one_system_and_the_energies_of_their_own(tmp_path):
    files = (
        locate(f"package:openmmtools/data/cb7-b2/{name}", Path())
        for name in ("complex-vacuum.prmtop", "complex-vacuum.inpcrd")
    )
    structure = with_hydrogen_mass(read_amber(*files), 3.0)
    guest = [i for i, name in enumerate(structure.system.residue_names) if name == "B2"]
    schedule = Schedule((0,) * 6, (1, 0.75, 0.5, 0, 0, 0), (1, 1, 1, 1, 0.4, 0))
    systems = {}
    for k in range(6):
        window = alchemical_system(structure, guest, schedule.state(k))
        text = openmm.XmlSerializer.serialize(window.system), window.dynamic_groups
        systems.setdefault(charge_state(schedule.state(k)), set()).add(text)
    assert sorted(systems) == ["between", "charged", "uncharged"]
    assert all(len(found) == 1 for found in systems.values())
    mover = AlchemicalMover(
        structure, guest, schedule, None, SampleSpec(seed=3), structure.system.positions,
        platform="CPU", threads=1,
    )  # fmt: skip
    phase = mover.begin(structure.system.positions, 2)
    for state in (4, 2, 1):
        phase, u = mover.move(phase, state, 4)
        for other in range(6):
            window = alchemical_system(structure, guest, schedule.state(other))
            context = langevin_context(
                window.system, phase.positions, temperature_k=TEMPERATURE, step_fs=1.0, friction_per_ps=5.0,
                seed=1, groups=window.dynamic_groups, parameters=window.parameters, platform="CPU", threads=1,
            )  # fmt: skip
            want = potential_kt(context, TEMPERATURE, window.dynamic_groups)
            if other > 2:  # the inert ligand's constant, which the uncharged states leave out
                want -= window.ghost.constant / KT
            assert u[other] == pytest.approx(want, abs=5e-3)  # single precision


def test_what_the_restraint_holds_is_kept_of_every_state_over_stretches_and_judged():
    files = (
        locate(f"package:openmmtools/data/cb7-b2/{name}", Path())
        for name in ("complex-vacuum.prmtop", "complex-vacuum.inpcrd")
    )
    structure = with_hydrogen_mass(read_amber(*files), 3.0)
    guest = [i for i, name in enumerate(structure.system.residue_names) if name == "B2"]
    heavy = [i for i in guest if structure.system.numbers[i] > 1][:3]
    six = boresch_coordinates(structure.system.positions[[9, 5, 0, *heavy]])
    restraint = BoreschRestraint(
        np.array([0, 5, 9]),
        np.array(heavy),
        six[0],
        six[1:3],
        six[3:],
        0.02,
        np.full(2, 0.2),
        np.full(3, 0.1),
    )
    leg = Leg(structure, Partition.select(structure.system, qm=guest, charge=0), np.array(guest))
    prepared, x = Prepared(complex=leg, solvent=leg), structure.system.positions
    schedule = Schedule((0, 1, 1), (1, 1, 0), (1, 1, 1))

    def settings(seed):
        dynamics = SampleSpec(step_fs=1.0, n_frames=2, stride=3, minimise=5, seed=seed)
        return ExchangeStage("complex", schedule, dynamics, "gibbs", Place("CPU", 1))

    first = begin_exchange(settings(1), prepared, Snapshots(np.array([x]), np.array([0]), 1, 0), restraint)
    second = continue_exchange(settings(2), prepared, first, restraint)
    assert second.restrained.shape == (3, 2, 6)
    for replica, state in enumerate(second.tables.state_of[-1]):  # an exchange moves no atom
        last = second.replicas.positions[replica][list(restraint.anchors)]
        assert second.restrained[state, -1] == pytest.approx(boresch_coordinates(last), abs=1e-9)
    names = [f"complex/exchange/0/{k}" for k in range(2)]
    results = dict(zip(names, (first, unpack(pack(second))), strict=True))
    found = list(restraint_traces(Finished(results), restraint))
    assert [one.name for one in found] == ["complex/exchange/0/1", "complex/exchange/0/2"]  # held ones only
    assert all(one.held for one in found)
    assert found[0].time_ps == pytest.approx([0.003, 0.006, 0.009, 0.012])
    assert found[1].values == pytest.approx(np.concatenate([first.restrained[2], second.restrained[2]]))
    with pytest.raises(InputError, match="six values per state and frame"):
        replace(first, restrained=first.restrained[:2])


class Finished(dict):
    """Results of a campaign that has these."""

    @property
    def nodes(self):
        return [SimpleNamespace(name=name) for name in self]


def test_a_stretch_of_other_states_is_refused():
    prepared = prepared_pair()
    first = begin_exchange(stage(1, 1), prepared, snapshots_of(prepared))
    other = Schedule((0,) * 5, (0,) * 5, (1.0, 0.7, 0.3, 0.1, 0.0))
    with pytest.raises(InputError, match="not those of this one"):
        continue_exchange(stage(1, 2, schedule=other), prepared, first)


def test_stretches_with_one_missing_or_of_two_runs_are_refused():
    prepared = prepared_pair()
    first = begin_exchange(stage(1, 1), prepared, snapshots_of(prepared))
    second = continue_exchange(stage(1, 2), prepared, first)
    with pytest.raises(InputError, match=r"end at the ages \[2\].*\[1\]"):
        leg_run("solvent", stretches=[second])
    with pytest.raises(InputError, match="0 windows and 0 stretches"):
        leg_run("solvent")
    assert isinstance(second, ExchangeStretch)


@pytest.mark.slow
def test_killed_in_any_stretch_or_damaged_on_disk_the_run_ends_with_the_same_bits(tmp_path):
    graph = nodes()
    blobs, records, _ = run(tmp_path / "whole", graph)
    script = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from pathlib import Path
from test_exchange_stages import nodes, run
run(Path({str(tmp_path / "killed")!r}), nodes())
"""
    driver = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    folder, end = tmp_path / "killed", time.monotonic() + 600
    while time.monotonic() < end and driver.poll() is None and exchange_rows(folder) < 1:
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    with (folder / "LOCK").open() as lock:  # a worker that was just being started may still hold it
        fcntl.flock(lock, fcntl.LOCK_EX)
    done = exchange_rows(folder)
    assert done == 1
    again, _, begun = run(folder, graph)
    assert again == blobs
    assert begun == ["solvent/exchange/0/1"]  # nothing finished was run again

    # A damaged result is put aside and made again; nothing is computed from it.
    name = blobs["solvent/exchange/0/0"]
    first = tmp_path / "whole" / "blobs" / name[:2] / name
    data = first.read_bytes()
    first.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    again, _, begun = run(tmp_path / "whole", graph)
    assert begun == ["solvent/exchange/0/0"]  # the second one started from bits that are there again
    assert again == blobs
    assert first.with_suffix(".damaged").exists()
    assert pack(records[0]) == first.read_bytes()


def exchange_rows(folder):
    import sqlite3

    if not (folder / "campaign.sqlite").exists():
        return 0
    try:
        return sum(row.kind == "w" for row in read_rows(folder))
    except sqlite3.OperationalError:  # the driver has not made the tables yet
        return 0
