"""A made-up campaign on the real geometry of T4 lysozyme L99A with p-xylene, for tests of the report.

`campaign` gives what short settings give; keyword arguments replace fields of the record.
"""

import functools
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from drupe.freeenergy.alchemical.exchange import exchange
from drupe.freeenergy.alchemical.finite_size import FiniteSize
from drupe.freeenergy.alchemical.leg_estimate import estimate
from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.alchemical.net_charge import charging_correction
from drupe.freeenergy.alchemical.restraint_health import RestraintTrace
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.freeenergy.estimation.chain import mbar
from drupe.freeenergy.estimation.extrapolation import Doubts
from drupe.freeenergy.estimation.label_check import LabelDifferences
from drupe.freeenergy.outcomes.campaign import (
    CampaignResult,
    CoreTable,
    Cost,
    Count,
    Failure,
    MmLeg,
    RestraintSummary,
    SwitchingResult,
)
from drupe.freeenergy.outcomes.figure_data import LearningCurve, Parity, RegionGeometry, Trace
from drupe.units import angstrom, kcal_per_mol, kt, nanometer


def gaussian_works(df, sigma, n_f, n_r, seed):
    """Works that obey Crooks' theorem exactly: W_F ~ N(df + s^2/2, s), W_R ~ N(-df + s^2/2, s)."""
    rng = np.random.default_rng(seed)
    return rng.normal(df + sigma**2 / 2, sigma, n_f), rng.normal(-df + sigma**2 / 2, sigma, n_r)


def harmonic_chain(n_states, n_samples, seed, spacing=1.1, rise=1.4):
    rng = np.random.default_rng(seed)
    centres = spacing * np.arange(n_states)
    x = np.concatenate([rng.normal(c, 1.0, n_samples) for c in centres])
    u = 0.5 * (x - centres[:, None]) ** 2 + rise * np.arange(n_states)[:, None] * np.exp(
        -0.12 * np.arange(n_states)[:, None]
    )
    names = [f"λ {k}" for k in range(n_states)]
    return mbar(u, np.full(n_states, n_samples), names=names)


@functools.cache
def checked_chain(n_states, n_samples, seed, drift=0.0):
    """MBAR and checks of a harmonic chain with exchanges; its ends drift apart by ``drift`` kT in time."""
    rng = np.random.default_rng(seed)
    centres = 1.1 * np.arange(n_states)
    tilt = drift * np.subtract.outer(-np.arange(n_states), -np.arange(n_states)) / max(n_states - 1, 1)
    state_of, tables, walks = np.arange(n_states), [], []
    for n in range(n_samples):
        x = rng.normal(centres, 1.0)  # of the frame sampled in each state
        u = 0.5 * (x[:, None] - centres) ** 2 + tilt * n / n_samples
        tables.append(u)
        walks.append(state_of)
        state_of = exchange(u.T[:, state_of], state_of, "neighbours", rng)
    names = [f"λ {k}" for k in range(n_states)]
    return estimate(Tables(np.array(tables).transpose(1, 2, 0), np.array(walks)), names)


def t4l_regions():
    folder = Path(str(files("openmmtools"))) / "data" / "T4-lysozyme-L99A-implicit"
    topology = mdtraj.load_prmtop(str(folder / "complex.prmtop"))
    numbers = (folder / "complex-minimized.crd").read_text().splitlines()
    flat = [float(line[i : i + 12]) for line in numbers[2:] for i in range(0, len(line.rstrip()), 12)]
    positions = np.array(flat[: 3 * topology.n_atoms]).reshape(-1, 3) * angstrom
    atoms = list(topology.atoms)
    qm = topology.select("resname TMP")
    return RegionGeometry(
        numbers=np.array([atom.element.atomic_number for atom in atoms]),
        positions=positions,
        bonds=np.array([[a.index, b.index] for a, b in topology.bonds]),
        atom_names=tuple(atom.name for atom in atoms),
        residue_names=tuple(atom.residue.name for atom in atoms),
        residue_ids=np.array([atom.residue.resSeq for atom in atoms]),
        chain_ids=np.array([atom.residue.chain.index for atom in atoms]),
        qm=qm,
        cores=(topology.select("resname TMP and name C8 H8 H9 H10"),),
        core_labels=("methyl",),
        anchors=np.array([*topology.select("residue 100 to 102 and name CA"), *qm[:3]]),
    )


def a_restraint():
    return BoreschRestraint(
        receptor=[2, 1, 0],
        ligand=[3, 4, 5],
        distance=6.12 * angstrom,
        angles=np.radians([84.1, 71.5]),
        dihedrals=np.radians([-12.4, 142.2, 63.0]),
        k_distance=8.0 * kcal_per_mol / angstrom**2,
        k_angles=np.array([40.0, 38.5]) * kcal_per_mol,
        k_dihedrals=np.array([21.0, 33.0, 30.2]) * kcal_per_mol,
    )


def restrained(rng, n_frames, shift=0.0, width=0.9, restraint=None):
    """Coordinates that scatter about the rest values by ``width`` sigma, ``shift`` sigma away."""
    one = restraint or a_restraint()
    rest = np.array([one.distance, *one.angles, *one.dihedrals])
    sigma = np.sqrt(kt(300.0) / np.array([one.k_distance, *one.k_angles, *one.k_dihedrals]))
    return rest + sigma * (shift + width * rng.normal(size=(n_frames, 6)))


def looked_at(seed):
    """What a healthy campaign keeps besides its works."""
    rng = np.random.default_rng(seed)
    names = {"complex/sample/0": False, "complex/sample/1": False, "complex/window/1": True}
    return {
        "boresch": a_restraint(),
        "restraint_traces": tuple(
            RestraintTrace(name, 0.04 * np.arange(1, 26), restrained(rng, 25), held)
            for name, held in names.items()
        ),
        "doubts": tuple(
            Doubts(f"{leg}, {place}", level, rng.uniform(0.3, 1.02, 40), rng.uniform(0.3, 0.7, 40))
            for leg in ("complex", "solvent")
            for place, level in (("end state", "low"), ("end state", "core"), ("switches", "low"))
        ),
        "checks": tuple(
            LabelDifferences(
                leg,
                level,
                12,
                rng.normal(-1.0, 0.3, 12),
                np.full(12, 0.5),
                np.full(12, 0.7),
                np.arange(12) % 3,
            )
            for level in ("low", "core")
            for leg in ("complex", "solvent")
        ),
    }


def started(*counts):
    """Works start from eight runs, in turn."""
    sides = {}
    for side, n in zip(("f", "r"), counts, strict=True):
        sides[f"run_{side}"] = np.arange(n) % 8
        sides[f"time_{side}"] = 0.1 * (1 + np.arange(n) // 8)
    return sides


@functools.cache
def settled_windows():
    """Checks of windows with nothing wrong with them: independent frames of a harmonic chain."""
    rng = np.random.default_rng(3)
    centres = 1.1 * np.arange(4)
    x = rng.normal(centres[:, None], 1.0, (4, 200))
    u = 0.5 * (x[:, None, :] - centres[None, :, None]) ** 2
    checks = estimate(Tables(u))[1]
    assert checks.verdict.level == "PASS", checks.verdict
    return checks


def campaign(*, n_switch=(6, 20), sigma=1.6, seed=5, **changes):
    rng = np.random.default_rng(seed)
    low = [
        gaussian_works(d, sigma, n, n, seed + k)
        for k, (d, n) in enumerate(zip((3.1, 4.4), n_switch, strict=True))
    ]
    core = [gaussian_works(d, 0.5, 40, 40, seed + 7 + k) for k, d in enumerate((-0.6, -0.35))]
    members = rng.normal(0, 0.35, (4, 1)) + rng.normal(0, 0.2, (4, 30))

    def switching(name, how, works):
        return tuple(
            SwitchingResult(
                leg, name, f, r, text, members + rng.normal(0, 0.1, (4, 1)), **started(len(f), len(r))
            )
            for leg, text, (f, r) in zip(("complex", "solvent"), how, works, strict=True)
        )

    energies = {
        leg: rng.normal(0, 3.2, n) * kcal_per_mol - 310.4 for leg, n in (("complex", 12), ("solvent", 8))
    }
    group = tuple(
        f"{leg}, {part}"
        for leg, n in (("complex", 12), ("solvent", 8))
        for part in ["training"] * (n - n // 4) + ["validation"] * (n // 4)
    )
    reference = np.concatenate(list(energies.values()))
    force = rng.normal(0, 0.02, 20 * 18 * 3)
    steps = np.arange(0, 4001, 100)

    def curve(stage, member, start, floor):
        wobble = np.exp(rng.normal(0, 0.06, len(steps)))
        shape = (floor + (start - floor) * np.exp(-steps / 600)) * wobble
        return LearningCurve(
            stage, member, steps, shape * kcal_per_mol, 2.4 * shape * kcal_per_mol / angstrom
        )

    fields = {
        "title": "p-Xylene in T4 lysozyme L99A",
        "ligand": "p-xylene",
        "receptor": "T4 lysozyme L99A, OBC2 implicit solvent",
        "temperature_k": 300.0,
        "seed": 1,
        "regions": t4l_regions(),
        "mm_legs": (
            MmLeg("complex", (harmonic_chain(8, 9, seed + 20, rise=7.0),), (settled_windows(),)),
            MmLeg("solvent", (harmonic_chain(5, 9, seed + 21, rise=0.4),), (settled_windows(),)),
        ),
        "restraint": RestraintSummary(
            -11.42,
            -11.37,
            ("ALA 99 CA", "LEU 118 CA", "VAL 87 CA", "C1", "C3", "C5"),
            (6.12, 84.1, 71.5, -12.4, 142.2, 63.0),
            (8.0, 40.0, 38.5, 21.0, 33.0, 30.2),
        ),
        "switching": (
            *switching("low", ("6 + 6 switches of 0.2 ps", "20 + 20 switches of 0.5 ps"), low),
            *switching("core", ("40 + 40 frames, instantaneous", "40 + 40 frames, instantaneous"), core),
        ),
        "cores": CoreTable(
            ("complex",) * 4 + ("solvent",) * 3,
            ("methyl",) * 7,
            -0.0712 + rng.normal(0, 2.5e-4, 7),
            0.551 + rng.normal(0, 0.004, 7),
            0.0081 + rng.normal(0, 2e-4, 7),
            np.full(7, 3e-13),
            np.array([2.1e-12] + [np.nan] * 6),
            np.full(7, 8.3),
        ),
        "parity": (
            Parity(
                "low",
                "energy",
                reference,
                reference + rng.normal(0, 0.5, 20) * kcal_per_mol,
                group,
                np.full(20, 0.4) * kcal_per_mol,
            ),
            Parity(
                "core",
                "energy",
                reference[:7] - 0.071,
                reference[:7] - 0.071 + rng.normal(0, 0.3, 7) * kcal_per_mol,
                ("complex",) * 4 + ("solvent",) * 3,
            ),
            Parity("low", "force_qm", force, force + rng.normal(0, 0.002, force.size), ("all labels",)),
            Parity(
                "low",
                "force_mm",
                0.05 * force,
                0.05 * force + rng.normal(0, 5e-5, force.size),
                ("all labels",),
            ),
        ),
        "learning": (
            *(curve("low", m, 6.0, 0.5) for m in range(4)),
            *(curve("core", m, 1.2, 0.3) for m in range(4)),
        ),
        "traces": tuple(
            Trace(name, np.arange(200) * 0.01, -4000 + rng.normal(0, 8, 200))
            for name in ("complex, MM", "solvent, MM")
        ),
        "counts": (
            Count("complex labels", 12, 12),
            Count("solvent labels", 8, 7, 1),
            Count("core-corrected labels", 7, 7),
            Count("complex windows", 8, 8),
            Count("solvent windows", 5, 5),
            Count("complex switches", 12, 12),
            Count("solvent switches", 40, 40),
        ),
        "costs": (
            Cost("MM sampling", 190.0, 2),
            Cost("labels", 430.0, 20),
            Cost("core corrections", 64.0, 7),
            Cost("training", 210.0, 4),
            Cost("transfer", 80.0, 4),
            Cost("alchemical windows", 480.0, 13),
            Cost("switching", 360.0, 52),
        ),
        "settings": {
            "low level": "PBE/def2-SVP, density fitting, electrostatic embedding",
            "core": "CCSD(T)-in-DFT, SPADE, projected Fock, virtual shells 1",
            "potential": "PaiNN, 4 members, difference to the ligand's MM energy",
        },
        "approximations": (
            (
                "Implicit solvent stays at the MM level",
                "OBC2 sees the fixed MM charges of the ligand at every level.",
            ),
            (
                "The field in the label is unscreened",
                "All MM charges act on the QM region in vacuum: 1-2 kcal/mol.",
            ),
            (
                "Forces of the core correction",
                "Labels carry DFT/MM forces; only energies are core-corrected.",
            ),
        ),
        "versions": {
            "drupe": "0.1.0",
            "PySCF": "2.14.0",
            "OpenMM": "8.6.1",
            "torch": "2.13.0",
            "Python": "3.11",
        },
        "failures": (
            Failure(
                "label solvent 5",
                "the SCF did not converge in 50 cycles",
                "raise max_cycle or drop the snapshot",
            ),
        ),
        "label_error_kcal": 1.5,
        "experiment_kcal": -4.63,
        "experiment_source": "isothermal calorimetry, T4L L99A, p-xylene",
    }
    return CampaignResult(**{**fields, **looked_at(seed + 40), **changes})


def finite_sized(result, beside=True):
    """Legs with a cation in cubes of 3 and 6 nm; ``beside`` a neutral receptor in the complex."""
    made = []
    for leg in result.mm_legs:
        edge = {"complex": 6.0, "solvent": 3.0}[leg.leg] * nanometer
        waters = round(33.0 * (edge / nanometer) ** 3)
        receptor = 0.0 if beside and leg.leg == "complex" else None
        given = {"n_waters": waters, "quadrupole": 2.73, "radius": 6.0, "receptor_charge": receptor}
        terms = charging_correction(1.0, edge * np.eye(3), result.temperature_k, **given)
        found = FiniteSize(terms, 0.3, 1, receptor, edge * np.eye(3), waters, 2.73, 6.0)
        made.append(replace(leg, finite_size=found))
    return replace(result, mm_legs=tuple(made))


@pytest.fixture(scope="session")
def corrected():
    return finite_sized


@pytest.fixture(scope="session")
def make_campaign():
    return campaign


@pytest.fixture(scope="session")
def make_checks():
    return settled_windows


@pytest.fixture(scope="session")
def make_chain():
    return harmonic_chain


@pytest.fixture(scope="session")
def make_checked_chain():
    return checked_chain
