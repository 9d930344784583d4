"""Free energy of charging Na+ in cubes of TIP3P water of two sizes, with and without finite-size correction.

    python benchmarks/ion_charging.py folder --minutes 5 [--edge 2.4 --edge 3.6]

Pieces of three windows at the Gauss-Legendre points of lambda are sampled in turn until the minutes (of this
call, by the clock) are over; they stay in the folder and later calls add to them. Prints one JSON object of
what is there: thermodynamic integration per box, in kcal/mol.
"""

import argparse
import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm

from drupe.embedding.structures.structure import Structure, openmm_system
from drupe.embedding.structures.water import water_molecules
from drupe.freeenergy.alchemical.alchemy import Schedule, run_window
from drupe.freeenergy.alchemical.net_charge import charging_correction, quadrupole_trace
from drupe.freeenergy.alchemical.solvent_box import in_water, tip3p_molecule
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.records import pack, unpack
from drupe.units import kcal_per_mol, kt, nanometer

TEMPERATURE = 300.0
KCAL = kt(TEMPERATURE) / kcal_per_mol
NODES, WEIGHTS = (np.polynomial.legendre.leggauss(3)[0] + 1) / 2, (5 / 18, 8 / 18, 5 / 18)
SCHEDULE = Schedule((0,) * 3, tuple(NODES[::-1]), (1,) * 3)
#: Three-site water of 3 amu hydrogens takes 4 fs; averages of positions do not depend on masses.
SPEC = SampleSpec(TEMPERATURE, step_fs=4.0, friction_per_ps=1.0, n_equilibration=0, n_frames=50, stride=16)
#: Pieces at the start of each window that are not used: 6.4 ps.
UNUSED = 2
#: Effective radius of Na+ in water, nm: Kastenholz and Huenenberger, J. Chem. Phys. 124, 224501 (2006).
RADIUS_NM = 0.168


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--edge", type=float, action="append")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    edges = given.edge or [2.4, 3.6]
    boxes = {edge: box(edge) for edge in edges}
    end = time.monotonic() + 60 * given.minutes
    longest = dict.fromkeys(edges, 0.0)
    while edges:
        edge = min(edges, key=lambda one: len(pieces(given.folder, one)) * one**1.5)
        if time.monotonic() + longest[edge] > end:
            break
        began = time.monotonic()
        sample_next(given.folder, edge, boxes[edge])
        longest[edge] = time.monotonic() - began
    print(json.dumps(summary(given.folder, boxes)))


def box(edge: float) -> Structure:
    """Na+ in water, with masses moved onto the hydrogens, and a lattice sum of usual accuracy."""
    made = in_water(tip3p_molecule("NA"), [0], edge_nm=edge, neutralise=False)
    system = openmm_system(made)
    for oxygen, *hydrogens in water_molecules(made.system).tolist():
        system.setParticleMass(oxygen, 12.0)
        for hydrogen in hydrogens:
            system.setParticleMass(hydrogen, 3.0)
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setCutoffDistance(0.8)
            force.setEwaldErrorTolerance(5e-4)
    return Structure(made.system, openmm.XmlSerializer.serialize(system), None)


def pieces(folder: Path, edge: float) -> list[Path]:
    return sorted(folder.glob(f"{edge}-*-*.record"))


def sample_next(folder: Path, edge: float, structure: Structure) -> None:
    """One piece of the window that is farthest behind."""
    mine = [sorted(folder.glob(f"{edge}-{k}-*.record")) for k in range(3)]
    index = min(range(3), key=lambda k: len(mine[k]) / WEIGHTS[k])
    number = len(mine[index])
    spec = replace(SPEC, seed=1000 * index + number + 1)
    start = structure.system.positions
    if number:
        start = unpack(mine[index][-1].read_bytes()).last_positions
    else:
        spec = replace(spec, n_equilibration=300, minimise=100)
    began = time.process_time()
    found = run_window(structure, [0], SCHEDULE, index, None, spec, start, platform="CPU", threads=1)
    path = folder / f"{edge}-{index}-{number:03d}.record"
    path.with_suffix(".cpu").write_text(f"{time.process_time() - began:.1f}")
    path.with_suffix(".part").write_bytes(pack(found))
    os.replace(path.with_suffix(".part"), path)


def summary(folder: Path, boxes: dict[float, Structure]) -> dict[str, object]:
    rows = {edge: charging(folder, edge, structure) for edge, structure in boxes.items()}
    rows = {edge: row for edge, row in rows.items() if row}
    out: dict[str, object] = {"unit": "kcal/mol", "temperature_k": TEMPERATURE, "boxes": rows}
    if len(rows) == 2:
        small, large = rows.values()
        out["difference"] = {
            name: round(small[name] - large[name], 3) for name in ("without_images", "pme", "corrected")
        }
        out["difference"]["error"] = round(math.hypot(small["error"], large["error"]), 3)
    return out


def charging(folder: Path, edge: float, structure: Structure) -> dict[str, object]:
    """Thermodynamic integration in one box; empty where a window has nothing yet."""
    from pymbar import timeseries

    value, variance, picoseconds, means = 0.0, 0.0, [], []
    for index in range(3):
        paths = sorted(folder.glob(f"{edge}-{index}-*.record"))[UNUSED:]
        found = [unpack(path.read_bytes()) for path in paths]
        if not found:
            return {}
        # Rows are the states from the last node to the first; the energy is exactly quadratic in lambda.
        u = np.concatenate([one.u for one in found], axis=1)[::-1]
        node = 2 - index
        quadratic = np.polynomial.polynomial.polyfit(NODES, u - u[node], 2)
        slope = (quadratic[1] + 2 * quadratic[2] * NODES[node]) * KCAL
        g = timeseries.statistical_inefficiency(slope)
        value += WEIGHTS[node] * slope.mean()
        variance += WEIGHTS[node] ** 2 * slope.var(ddof=1) * g / len(slope)
        picoseconds.append(round(len(slope) * SPEC.stride * SPEC.step_fs * 1e-3, 1))
        means.append(round(float(slope.mean()), 2))
    waters = water_molecules(structure.system)
    first = waters[0]
    terms = charging_correction(
        1.0,
        structure.system.box,
        TEMPERATURE,
        n_waters=len(waters),
        quadrupole=quadrupole_trace(structure.system.charges[first], structure.system.positions[first]),
        radius=RADIUS_NM * nanometer,
    )
    names = ("periodicity", "undersolvation", "residual", "finite_radius", "discrete_solvent")
    return {
        "waters": len(waters),
        "picoseconds": picoseconds[::-1],
        "slopes": means[::-1],
        "error": round(math.sqrt(variance), 3),
        "without_images": round(value + terms.periodicity * KCAL, 3),
        "pme": round(value, 3),
        "corrected": round(value + terms.total * KCAL, 3),
        "terms": {name: round(getattr(terms, name) * KCAL, 3) for name in names},
        "cpu_s": round(sum(float(p.read_text()) for p in folder.glob(f"{edge}-*.cpu"))),
    }


if __name__ == "__main__":
    main()
