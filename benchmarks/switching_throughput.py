"""Time of a step of switching MM to ML/MM: the naive loop, switches one by one, and several at a time.

p-Xylene (18 atoms) alone in OBC2 with a committee of the default size, whose weights are random: the time
does not depend on them. All variants run in turn, round after round, after every network runs from its frozen
graph. A step is a long switch less one of a single increment, over the increments between; each number is the
median and the best round. On a loaded machine the wall clock says little: CPU time, that of all threads,
stands beside it.

naive                   set lambda, two energies of the whole system, step; nothing is remembered
one by one              `switch`, one context after the other
together                `switch_together`, calls of four frames, one after the other
together, side by side  the same with both calls at a time
two processes           half of the contexts one by one in each of two processes
two of together         half of the contexts together in each of two processes

Prints one JSON object.
Run: OMP_NUM_THREADS=1 python benchmarks/switching_throughput.py [--rounds 3 --steps 60 --precision single]
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from openmm import unit
from openmmml import MLPotential

from drupe.embedding.structures.structure import locate, openmm_system, openmm_topology, read_amber
from drupe.freeenergy.simulation.dynamics import langevin_context
from drupe.freeenergy.switches.switching import SwitchSpec, switch
from drupe.freeenergy.switches.switching_together import switch_together
from drupe.mlp import Committee, FitSpec, passes
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.force import learned_forces
from drupe.mlp.passes import Frame
from drupe.mlp.potential import Potential, PotentialHeader

FILES = "package:openmmtools/data/T4-lysozyme-L99A-implicit/"
CONTEXTS, AT_ONCE = 8, 4
LAMBDA, GROUP = "lambda_interpolate", 7


def setting(precision, platform):
    """The molecule's structure, a committee, and the system that interpolates between MM and it."""
    passes._WORTH_IT = 1  # graphs are frozen at once: this is about what comes after
    structure = read_amber(
        locate(f"{FILES}ligand.prmtop", Path()),
        locate(f"{FILES}ligand-minimized.crd", Path()),
        implicit_solvent="OBC2",
    )
    system, spec = structure.system, FitSpec()
    header = PotentialHeader(
        numbers=system.numbers,
        fixed_charges=system.charges,
        total_charge=0,
        backbone=spec.backbone,
        features=spec.features,
        layers=spec.layers,
        radial=spec.radial,
        cutoff=spec.cutoff,
        damping=spec.damping,
        field_scale=0.02,
        energy_scale=1e-4,
        energy_bound=spec.energy_bound,
        charge_scale=0.01,
        polarizability_scale=1.0,
        energy_zero=0.0,
        level="none",
        training_set="none",
        baseline=LigandForceField.from_structure(structure, range(system.n_atoms)),
    )
    members = []
    for seed in range(spec.members):
        one = Potential(header, seed=seed)
        torch.nn.init.normal_(one.readout.last.weight, std=0.3, generator=torch.Generator().manual_seed(seed))
        members.append(one.stored())
    model = Committee(tuple(members))
    mixed = MLPotential("drupe", model=model, precision=precision).createMixedSystem(
        openmm_topology(system),
        openmm_system(structure),
        list(range(system.n_atoms)),
        embedding="electrostatic",
        interpolate=True,
        forceGroup=GROUP,
    )
    rng = np.random.default_rng(1)
    starts = [system.positions + 0.01 * rng.normal(size=system.positions.shape) for _ in range(CONTEXTS)]
    return structure, model, mixed, starts, {"platform": platform, "threads": 1}


def naive(mixed, start, spec, seed, where):
    """What a loop does that knows nothing of the potential."""
    context = langevin_context(
        mixed,
        start,
        temperature_k=spec.temperature_k,
        step_fs=spec.step_fs,
        friction_per_ps=spec.friction_per_ps,
        seed=seed,
        **where,
    )
    work = 0.0
    for i in range(1, spec.n_steps + 1):
        ends = []
        for value in spec.ladder[i - 1 : i + 1]:
            context.setParameter(LAMBDA, float(value))
            energy = context.getState(energy=True).getPotentialEnergy()
            ends.append(energy.value_in_unit(unit.kilojoule_per_mole))
        work += ends[1] - ends[0]
        if i < spec.n_steps:
            context.getIntegrator().step(1)
    return work / (spec.temperature_k * 0.00831446261815324)


def one_by_one(mixed, starts, spec, where):
    return [switch(mixed, x, spec, k, **where).value for k, x in enumerate(starts)]


def together(mixed, starts, spec, where, side_by_side=1):
    options = {"at_once": AT_ONCE, "side_by_side": side_by_side, **where}
    made = switch_together(mixed, starts, spec, range(len(starts)), **options)
    return [work.value for work in made]


_here = {}


def freeze(model, precision, frame, sizes):
    for size in sizes:
        run = model.network(size, precision)
        while not run.frozen:
            run([frame] * size)


def prepare(*given):
    """In a process of its own: the system, and its networks frozen."""
    torch.set_num_threads(1)
    _here["setting"] = setting(*given)
    structure, model, *_ = _here["setting"]
    freeze(model, given[0], frame_of(structure), (1, AT_ONCE))
    return True


def half(number, spec, way):
    _, _, mixed, starts, where = _here["setting"]
    return way(mixed, starts[number::2], spec, where)


def frame_of(structure):
    zeros = torch.zeros(18).double(), torch.zeros(18, 3).double(), torch.zeros(18, 0).double()
    return Frame(torch.tensor(structure.system.positions), *zeros)


def spent():
    """CPU seconds of this process and its finished children."""
    return sum(
        part.ru_utime + part.ru_stime
        for part in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def timed(call):
    wall, cpu = time.perf_counter(), spent()
    value = call()
    return time.perf_counter() - wall, spent() - cpu, value


def network_ms(model, precision, frame, rounds):
    """CPU milliseconds per frame of the frozen graph for several sizes, taken in turn."""
    sizes = (1, 2, 4, 8)
    runs = {size: model.network(size, precision) for size in sizes}
    for size, run in runs.items():
        while not run.frozen:
            run([frame] * size)
        for _ in range(4):
            run([frame] * size)
    found = {size: [] for size in sizes}
    for _ in range(rounds):
        for size, run in runs.items():
            cpu = time.thread_time()
            run([frame] * size)
            found[size].append(1e3 * (time.thread_time() - cpu) / size)
    return {size: {"median": statistics.median(v), "best": min(v)} for size, v in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--precision", choices=("double", "single"), default="double")
    parser.add_argument("--platform", default="auto")
    options = parser.parse_args()
    load = [os.getloadavg()[0]]
    torch.set_num_threads(1)
    structure, model, mixed, starts, where = setting(options.precision, options.platform)
    spec, frame = SwitchSpec(options.steps, 0.5), frame_of(structure)
    (memory, _), *_ = learned_forces(mixed)
    freeze(memory.committee, options.precision, frame, (1, AT_ONCE))
    network = network_ms(model, options.precision, frame, 30)

    def naively(given):
        rooms, memory.rooms = memory.rooms, 0
        try:
            return [naive(mixed, starts[0], given, 0, where)]
        finally:
            memory.rooms = rooms

    pool = ProcessPoolExecutor(
        2,
        multiprocessing.get_context("spawn"),
        initializer=prepare,
        initargs=(options.precision, options.platform),
    )

    def halves(given, way):
        return [w for part in pool.map(half, (0, 1), [given] * 2, [way] * 2) for w in part]

    for way in (one_by_one, together):
        halves(SwitchSpec(2, 0.5), way)
    plain = openmm_system(structure)
    of_mm = langevin_context(
        plain, starts[0], temperature_k=300.0, step_fs=0.5, friction_per_ps=5.0, seed=1, **where
    )
    variants = {
        "naive": (naively, 1),
        "one by one": (lambda given: one_by_one(mixed, starts, given, where), CONTEXTS),
        "together": (lambda given: together(mixed, starts, given, where), CONTEXTS),
        "together, side by side": (lambda given: together(mixed, starts, given, where, 2), CONTEXTS),
        "two processes": (lambda given: halves(given, one_by_one), CONTEXTS),
        "two of together": (lambda given: halves(given, together), CONTEXTS),
    }
    wall, cpu, works = ({name: [] for name in variants} for _ in range(3))
    step_of_mm = []
    for _ in range(options.rounds):
        for name, (call, count) in variants.items():
            seconds, used, works[name] = timed(lambda call=call: call(spec))
            setup, before, _ = timed(lambda call=call: call(SwitchSpec(1, spec.step_fs)))
            steps = count * (options.steps - 1)
            wall[name].append(1e3 * (seconds - setup) / steps)
            cpu[name].append(1e3 * (used - before) / steps)
        step_of_mm.append(1e3 * timed(lambda: of_mm.getIntegrator().step(100))[1] / 100)
        load.append(os.getloadavg()[0])
    pool.shutdown()
    middle = {name: statistics.median(v) for name, v in wall.items()}
    used = {name: statistics.median(v) for name, v in cpu.items() if not name.startswith("two")}
    # On the CPU platform, since contexts that run in turn on Reference share one stream of noise.
    short, cpu_platform = SwitchSpec(6, spec.step_fs), {**where, "platform": "CPU"}
    gaps = np.subtract(*(way(mixed, starts, short, cpu_platform) for way in (together, one_by_one)))

    def ratio(one, other):
        both = (("wall", middle), ("CPU", used))
        return {kind: round(v[one] / v[other], 2) for kind, v in both if one in v and other in v}

    print(
        json.dumps(
            {
                "contexts": CONTEXTS,
                "precision": options.precision,
                "platform": of_mm.getPlatform().getName(),
                "steps": options.steps,
                "network, CPU ms per frame": network,
                "MM step, ms": statistics.median(step_of_mm),
                "wall ms per step": {
                    name: {"median": middle[name], "best": min(v)} for name, v in wall.items()
                },
                "CPU ms per step": {name: {"median": used[name], "best": min(cpu[name])} for name in used},
                "ratios": {
                    "naive / one by one": ratio("naive", "one by one"),
                    "one by one / together": ratio("one by one", "together"),
                    "one by one / together, 2 threads": ratio("one by one", "together, side by side"),
                    "two processes / two of together": ratio("two processes", "two of together"),
                    "one by one / two of together": ratio("one by one", "two of together"),
                    "two processes / together, 2 threads": ratio("two processes", "together, side by side"),
                },
                "largest difference of works on the CPU platform, kT": float(np.abs(gaps).max()),
                "naive minus switch, kT": works["naive"][0] - works["one by one"][0],
                "load": load,
                "versions": {name: version(name) for name in ("drupe", "torch", "openmm", "openmmml")},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
