"""CHARMM files with all their kinds of terms, in vacuum and in boxes, against another route to the field.

OpenMM's ``charmm36.xml`` builds a System; its terms are written as psf and prm files, one atom type per
atom, and read back. Urey-Bradley, CMAP and NBFIX energies are also computed from their formulas here.
"""

import dataclasses
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit
from scipy.interpolate import RectBivariateSpline
from scipy.spatial.transform import Rotation

from drupe.embedding import MolecularSystem
from drupe.embedding.structures.charmm import read_charmm
from drupe.embedding.structures.structure import (
    cut_out,
    locate,
    openmm_system,
    openmm_topology,
    read_amber,
    read_structure,
)
from drupe.errors import InputError
from drupe.units import angstrom, nanometer

KCAL = 4.184
#: Sodium, chloride and two waters, nm from the upper corner of the peptide; the ions are a contact pair.
AROUND = [
    [0.30, 0.00, 0.00], [0.30, 0.27, 0.00],
    [0.30, -0.30, 0.00], [0.36, -0.36, 0.05], [0.30, -0.22, -0.05],
    [-0.30, 0.30, 0.30], [-0.25, 0.38, 0.30], [-0.38, 0.32, 0.30],
]  # fmt: skip
CUBE = np.diag([2.4, 2.5, 2.6])
TRICLINIC = np.array([[2.4, 0, 0], [0.7, 2.3, 0], [-0.6, 0.5, 2.2]])


@pytest.fixture(scope="module")
def solution():
    """The blocked alanine, an ion pair and two waters: topology, positions in nm, types by charmm36.xml."""
    base = "package:openmmtools/data/alanine-dipeptide-gbsa/alanine-dipeptide."
    read = read_amber(locate(base + "prmtop", Path()), locate(base + "crd", Path()), implicit_solvent=None)
    names = tuple(f"{'XHxxxxCNO'[z]}{i}" for i, z in enumerate(read.system.numbers))
    one = dataclasses.replace(
        read.system, atom_names=names, residue_names=("ALAD",) * 22, residue_ids=np.ones(22, int)
    )
    nm = read.system.positions / nanometer + 0.005 * np.random.default_rng(3).normal(size=(22, 3))
    for start, end, degrees in ((6, 8, 110.0), (8, 14, -150.0)):  # phi and psi, away from the extended form
        turn = Rotation.from_rotvec(
            np.radians(degrees) * (nm[end] - nm[start]) / np.linalg.norm(nm[end] - nm[start])
        )
        nm[end + 1 :] = turn.apply(nm[end + 1 :] - nm[end]) + nm[end]
    others = app.Topology()
    chain = others.addChain("B")
    for name, symbol in (("SOD", "Na"), ("CLA", "Cl")):
        others.addAtom(name, app.Element.getBySymbol(symbol), others.addResidue(name, chain))
    for _ in range(2):
        water = others.addResidue("HOH", chain)
        oxygen, *hydrogens = (
            others.addAtom(name, app.Element.getBySymbol(name[0]), water) for name in ("OH2", "H1", "H2")
        )
        for hydrogen in hydrogens:
            others.addBond(oxygen, hydrogen)
    modeller = app.Modeller(openmm_topology(one), nm * unit.nanometer)
    modeller.add(others, (nm.max(0) + AROUND) * unit.nanometer)
    return modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer))


def charmm36(topology, box=None):
    """The System of OpenMM's own CHARMM36, in vacuum or under PME."""
    field = app.ForceField("charmm36.xml", "charmm36/water.xml")
    settings = {}
    if box is not None:
        topology.setPeriodicBoxVectors(box * unit.nanometer)
        settings = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.9, "ewaldErrorTolerance": 1e-5}
    names = {next(topology.residues()): "ALAD"}
    system = field.createSystem(topology, rigidWater=False, residueTemplates=names, **settings)
    topology.setPeriodicBoxVectors(None)
    return system


def rows(force, count, get):
    found = [getattr(force, get)(k) for k in range(getattr(force, count)())]
    return [[v._value if unit.is_quantity(v) else v for v in row] for row in found]


def terms(system):
    """Every term as plain numbers in OpenMM's units; Lennard-Jones by pair, from the tables."""
    by_kind = {type(force).__name__: force for force in system.getForces()}
    table, coulomb = by_kind["CustomNonbondedForce"], by_kind["NonbondedForce"]
    maps = by_kind["CMAPTorsionForce"]
    size, _, first = table.getTabulatedFunction(0).getFunctionParameters()
    second = table.getTabulatedFunction(1).getFunctionParameters()[2]
    kinds = [int(table.getParticleParameters(i)[0]) for i in range(system.getNumParticles())]
    a, b = (np.array(x).reshape(size, size)[np.ix_(kinds, kinds)] for x in (first, second))
    assert table.getEnergyFunction() == "acoef(type1, type2)/r^12 - bcoef(type1, type2)/r^6;"
    sigma6 = a / b
    found = {
        "bonds": rows(by_kind["HarmonicBondForce"], "getNumBonds", "getBondParameters"),
        "angles": rows(by_kind["HarmonicAngleForce"], "getNumAngles", "getAngleParameters"),
        "torsions": rows(by_kind["PeriodicTorsionForce"], "getNumTorsions", "getTorsionParameters"),
        "impropers": rows(by_kind["CustomTorsionForce"], "getNumTorsions", "getTorsionParameters"),
        "maps": [maps.getMapParameters(k) for k in range(maps.getNumMaps())],
        "crossterms": rows(maps, "getNumTorsions", "getTorsionParameters"),
        "charges": [row[0] for row in rows(coulomb, "getNumParticles", "getParticleParameters")],
        "rmin": 2 ** (1 / 6) * sigma6 ** (1 / 6),
        "depth": b / (4 * sigma6),
        "near": rows(by_kind["CustomBondForce"], "getNumBonds", "getBondParameters"),
        "masses": [system.getParticleMass(i)._value for i in range(system.getNumParticles())],
    }  # fmt: skip
    return found


def of_each_atom(pairs, values, size):
    """Numbers x with x_i + x_j = value for each pair, for 1-4 parameters that are known by pair only."""
    matrix = np.zeros((len(pairs), size))
    for row, (i, j) in zip(matrix, pairs, strict=True):
        row[[i, j]] += 1
    found = np.linalg.lstsq(matrix, values, rcond=None)[0]
    assert matrix @ found == pytest.approx(values, abs=1e-9)
    return found


def write_psf(path, topology, found):
    flags = "PSF CMAP" if found["crossterms"] else "PSF"
    out = [flags, "", "       1 !NTITLE", " REMARKS test", "", f"{topology.getNumAtoms():8d} !NATOM"]
    for i, atom in enumerate(topology.atoms()):
        out.append(
            f"{i + 1:8d} S{atom.residue.chain.index:<3d} {atom.residue.index + 1:<4d} "
            f"{atom.residue.name[:4]:<4} {atom.name:<4} X{i:<3d} {found['charges'][i]:14.10f} "
            f"{found['masses'][i]:12.6f} 0"
        )

    def section(title, atoms, per_line):
        flat = [a + 1 for row in atoms for a in row]
        out.extend(["", f"{len(atoms):8d} !{title}"])
        out.extend("".join(f"{a:8d}" for a in flat[s : s + per_line]) for s in range(0, len(flat), per_line))

    section("NBOND: bonds", [(a.index, b.index) for a, b in topology.bonds()], 8)
    section("NTHETA: angles", [row[:3] for row in found["angles"]], 9)
    section("NPHI: dihedrals", sorted({tuple(row[:4]) for row in found["torsions"]}), 8)
    section("NIMPHI: impropers", [row[:4] for row in found["impropers"]], 8)
    section("NDON: donors", [], 8)
    section("NACC: acceptors", [], 8)
    out.extend(["", f"{0:8d} !NNB", ""])
    out.extend("".join(f"{0:8d}" for _ in range(8)) for _ in range(-(-topology.getNumAtoms() // 8)))
    out.extend(["", "       1       0 !NGRP NST2", "       0       0       0"])
    if found["crossterms"]:
        section("NCRTERM: cross-terms", [row[1:] for row in found["crossterms"]], 8)
    path.write_text("\n".join([*out, ""]))


def write_prm(path, topology, found):
    """CHARMM's conventions: kcal, angstrom, no factor 1/2, Rmin/2, maps from -180 degrees with psi fast."""
    size = topology.getNumAtoms()
    out = ["* parameters", "*", "ATOMS"]
    out += [f"MASS {i + 1} X{i} {found['masses'][i]:.6f}" for i in range(size)]
    bonded = {tuple(sorted((a.index, b.index))) for a, b in topology.bonds()}
    springs = {tuple(sorted((i, j))): (k / 2 / KCAL / 100, 10 * r) for i, j, r, k in found["bonds"]}
    out += ["", "BONDS"]
    out += [f"X{i} X{j} {springs[i, j][0]:.12g} {springs[i, j][1]:.12g}" for i, j in sorted(bonded)]
    out += ["", "ANGLES"]
    for i, j, k, angle, force in found["angles"]:
        line = f"X{i} X{j} X{k} {force / 2 / KCAL:.12g} {np.degrees(angle):.12g}"
        ends = tuple(sorted((i, k)))
        if ends in springs and ends not in bonded:
            line += f" {springs[ends][0]:.12g} {springs[ends][1]:.12g}"
        out.append(line)
    out += ["", "DIHEDRALS"]
    for *four, n, phase, force in found["torsions"]:
        names = " ".join(f"X{a}" for a in four)
        out.append(f"{names} {force / KCAL:.12g} {n} {np.degrees(phase):.12g}")
    out += ["", "IMPROPER"]
    for *four, (force, angle) in found["impropers"]:
        names = " ".join(f"X{a}" for a in four)
        out.append(f"{names} {force / KCAL:.12g} 0 {np.degrees(angle):.12g}")
    out += ["", "CMAP"]
    for number, *eight in found["crossterms"]:
        side, energies = found["maps"][number]
        grid = np.array([e._value for e in energies]).reshape(side, side).T  # OpenMM: phi fast
        out.append(" ".join(f"X{a}" for a in eight) + f" {side}")
        for line in np.roll(grid, (side // 2, side // 2), (0, 1)) / KCAL:
            out += [" ".join(f"{e:.10g}" for e in line[s : s + 5]) for s in range(0, side, 5)]
    out += ["", "NONBONDED nbxmod  5 atom cdiel fshift vatom vdistance vfswitch -"]
    out += ["cutnb 14.0 ctofnb 12.0 ctonnb 10.0 eps 1.0 e14fac 1.0 wmin 1.5"]
    near = [row[:2] for row in found["near"]]
    half = of_each_atom(near, [2 ** (1 / 6) * 10 * s for *_, (s, _) in found["near"]], size)
    depth = np.exp(of_each_atom(near, [2 * np.log(e) for *_, (_, e) in found["near"]], size)) / KCAL
    own, deep = np.diag(found["rmin"]) / 2 * 10, np.diag(found["depth"]) / KCAL
    for i in range(size):
        out.append(f"X{i} 0.0 {-deep[i]:.12g} {own[i]:.12g} 0.0 {-depth[i]:.12g} {half[i]:.12g}")
    out += ["", "HBOND CUTHB 0.5", "", "NBFIX"]
    out += [
        f"X{i} X{j} {-found['depth'][i, j] / KCAL:.12g} {10 * found['rmin'][i, j]:.12g}"
        for i, j in fixed_pairs(found)
    ]
    path.write_text("\n".join([*out, "", "END", ""]))


def fixed_pairs(found):
    """Pairs whose Lennard-Jones parameters are not those of the combination rule."""
    own, deep = np.diag(found["rmin"]) / 2, np.diag(found["depth"])
    rule = own[:, None] + own, np.sqrt(deep[:, None] * deep)
    odd = ~np.isclose(found["rmin"], rule[0], rtol=1e-6) | ~np.isclose(found["depth"], rule[1], rtol=1e-6)
    return np.argwhere(np.triu(odd)).tolist()


def write_crd(path, topology, nm):
    out = ["* test", "*", f"{topology.getNumAtoms():5d}"]
    for i, (atom, (x, y, z)) in enumerate(zip(topology.atoms(), 10 * nm, strict=True)):
        out.append(
            f"{i + 1:5d}{atom.residue.index + 1:5d} {atom.residue.name[:4]:<4} {atom.name:<4}"
            f"{x:10.5f}{y:10.5f}{z:10.5f} S{atom.residue.chain.index:<3d} {atom.residue.index + 1:<4d}"
            "   0.00000"
        )
    path.write_text("\n".join([*out, ""]))


@pytest.fixture
def files(solution, tmp_path):
    """Paths of psf, crd and prm, and what they say."""
    topology, nm = solution
    found = terms(charmm36(topology))
    write_psf(tmp_path / "a.psf", topology, found)
    write_prm(tmp_path / "a.prm", topology, found)
    write_crd(tmp_path / "a.crd", topology, nm)
    return tmp_path / "a.psf", tmp_path / "a.crd", tmp_path / "a.prm"


def energies(system, nm, box=None):
    """kJ/mol by kind of force, on the double-precision reference platform; one number for all nonbonded."""
    for group, force in enumerate(system.getForces()):
        force.setForceGroup(group)
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    if box is not None:
        context.setPeriodicBoxVectors(*box)
    context.setPositions(nm)
    kinds = {}
    for group, force in enumerate(system.getForces()):
        kind = type(force).__name__
        kind = "nonbonded" if kind in ("NonbondedForce", "CustomNonbondedForce", "CustomBondForce") else kind
        energy = context.getState(energy=True, groups={group}).getPotentialEnergy()._value
        kinds[kind] = kinds.get(kind, 0.0) + energy
    return kinds


@pytest.mark.parametrize("box", [None, CUBE, TRICLINIC], ids=["vacuum", "cube", "triclinic"])
def test_every_kind_of_term_has_the_energy_of_openmms_charmm36(solution, files, box):
    psf, crd, prm = files
    read = read_charmm(psf, crd, [prm], box=None if box is None else box * nanometer)
    nm = read.system.positions / nanometer
    ours = energies(openmm_system(read), nm, box)
    theirs = energies(charmm36(solution[0], box), nm, box)
    assert {k for k, e in theirs.items() if abs(e) > 1e-3} == {
        "HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "CustomTorsionForce",
        "CMAPTorsionForce", "nonbonded",
    }  # fmt: skip
    for kind, energy in theirs.items():
        # 1e-5 kJ/mol: parameters are written with 10 to 12 digits.
        assert ours.get(kind, 0.0) == pytest.approx(energy, abs=1e-5), kind
    assert (read.system.box is None) == (box is None)
    if box is not None:
        assert read.system.box == pytest.approx(box * nanometer)
    assert read.system.numbers.tolist() == [a.element.atomic_number for a in solution[0].atoms()]


def dihedral(points):
    a, b, c = np.diff(points, axis=0)
    n, m = np.cross(a, b), np.cross(b, c)
    return np.degrees(np.arctan2(np.cross(n, m) @ b / np.linalg.norm(b), n @ m))


def without(path, section, copy):
    """The parameter file with an empty section."""
    lines = path.read_text().split("\n")
    start = lines.index(section)
    end = next(k for k in range(start + 1, len(lines)) if lines[k] in ("", "END"))
    copy.write_text("\n".join([*lines[: start + 1], *lines[end:]]))
    return copy


def test_urey_bradley_nbfix_and_cmap_are_what_their_formulas_say(solution, files, tmp_path):
    psf, crd, prm = files
    found = terms(charmm36(solution[0]))
    read = read_charmm(psf, crd, [prm])
    nm = read.system.positions / nanometer
    ours = energies(openmm_system(read), nm)
    bonded = {tuple(b) for b in read.system.bonds.tolist()}
    assert len(bonded) == 25
    springs = sum(k / 2 * (np.linalg.norm(nm[i] - nm[j]) - r) ** 2 for i, j, r, k in found["bonds"])
    ends = [row for row in found["bonds"] if tuple(sorted(row[:2])) not in bonded]
    assert len(ends) > 10
    assert ours["HarmonicBondForce"] == pytest.approx(springs, abs=1e-6)

    expected = 0.0
    for number, *eight in found["crossterms"]:
        side, energy = found["maps"][number]
        grid = np.tile(np.array([e._value for e in energy]).reshape(side, side).T, (3, 3))
        axis = np.arange(-side, 2 * side) * 360 / side
        spline = RectBivariateSpline(axis, axis, grid)
        phi, psi = (dihedral(nm[four]) % 360 for four in (eight[:4], eight[4:]))
        assert abs(spline(phi, psi)[0, 0] - spline(psi, phi)[0, 0]) > 0.1  # the axes are not alike
        expected += spline(phi, psi)[0, 0]
    # 1e-2: two ways of making the map smooth.
    assert ours["CMAPTorsionForce"] == pytest.approx(expected, abs=1e-2)

    ((i, j),) = [p for p in fixed_pairs(found) if np.linalg.norm(nm[p[0]] - nm[p[1]]) < 0.3]
    assert {read.system.numbers[i], read.system.numbers[j]} == {11, 17}
    rule = read_charmm(psf, crd, [without(prm, "NBFIX", tmp_path / "rule.prm")])
    difference = 0.0
    for a, b in fixed_pairs(found):
        r = np.linalg.norm(nm[a] - nm[b])
        mean = (found["rmin"][a, a] + found["rmin"][b, b]) / 2
        depth = np.sqrt(found["depth"][a, a] * found["depth"][b, b])
        for sign, e, x in ((1, found["depth"][a, b], found["rmin"][a, b] / r), (-1, depth, mean / r)):
            difference += sign * e * (x**12 - 2 * x**6)
    assert abs(difference) > 0.3
    change = ours["nonbonded"] - energies(openmm_system(rule), nm)["nonbonded"]
    assert change == pytest.approx(difference, abs=1e-6)


def test_the_box_of_a_pdb_file_is_taken_and_one_too_small_refused(solution, files, tmp_path):
    psf, _, prm = files
    topology, nm = solution
    for box, path in ((TRICLINIC, tmp_path / "a.pdb"), (0.7 * CUBE, tmp_path / "small.pdb")):
        topology.setPeriodicBoxVectors(box * unit.nanometer)
        with path.open("w") as file:
            app.PDBFile.writeFile(topology, nm * unit.nanometer, file)
    topology.setPeriodicBoxVectors(None)
    read = read_structure(psf, tmp_path / "a.pdb", parameters=[prm])
    assert read.system.box == pytest.approx(TRICLINIC * nanometer, abs=0.01)  # A and degrees, rounded
    box = read.system.box / nanometer
    at = read.system.positions / nanometer
    theirs = energies(charmm36(topology, box), at, box)
    ours = energies(openmm_system(read), at, box)
    assert ours["nonbonded"] == pytest.approx(theirs["nonbonded"], abs=1e-4)
    given = MolecularSystem.from_charmm(psf, tmp_path / "a.pdb", [prm], box=CUBE * nanometer)
    assert given.box == pytest.approx(CUBE * nanometer)
    with pytest.raises(InputError, match=r"16\.80 A wide, less than two cutoffs"):
        read_charmm(psf, tmp_path / "small.pdb", [prm])


def test_forces_that_cannot_be_cut_are_named(files):
    psf, crd, prm = files
    with pytest.raises(InputError, match="the field holds a CMAPTorsionForce|holds a CustomTorsionForce"):
        cut_out(read_charmm(psf, crd, [prm]), range(22))


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda t: t[: t.index("!NCRTERM") - 9], "lacks the sections !NCRTERM: it is cut off"),
        (lambda t: t[: t.index("!NPHI") - 9], "lacks the sections !NPHI, !NIMPHI, !NCRTERM"),
        (lambda t: t.replace("PSF CMAP", "PSF CMAP DRUDE"), r"polarizable force field \(DRUDE\)"),
        (
            lambda t: t.replace("       0 !NNB\n\n", "       2 !NNB\n       5       6\n"),
            "lists 2 nonbonded excl",
        ),
        (lambda t: t.replace("!NBOND", "!NBANDS"), "lacks the sections !NBOND"),
        (lambda t: "no " + t, "cannot be read as a CHARMM structure file"),
    ],
)
def test_a_structure_file_that_would_lose_terms_is_refused(files, edit, says):
    psf, crd, prm = files
    psf.write_text(edit(psf.read_text()))
    with pytest.raises(InputError, match=says):
        read_charmm(psf, crd, [prm])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("cdiel", "rdiel", r"a dielectric that grows with the distance \(RDIE\)"),
        ("eps 1.0", "eps 4.0", "sets EPS 4.0, OpenMM takes 1"),
        ("vdistance", "vdistance geom", "geometric mean"),
        ("vfswitch -", "vfswitch\n e14fac 0.4", "sets E14FAC 0.4, OpenMM takes 1"),
        ("nbxmod  5", "nbxmo 4", "sets NBXMO 4, OpenMM takes 5"),
        ("HBOND CUTHB 0.5", "HBOND CUTHB 0.5\nN* O* -0.00 2.0", "the hydrogen-bond term"),
        ("IMPROPER\n", "IMPROPER\nX X1 X2 X 3.0 2 180.0\n", "of the cosine form"),
        ("CMAP\nX4 ", "CMAP\nX3 ", "No CMAP parameters found"),
    ],
)
def test_parameters_that_openmm_would_ignore_are_refused(files, old, new, says):
    psf, crd, prm = files
    assert old in prm.read_text()
    prm.write_text(prm.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=says) as caught:
        read_charmm(psf, crd, [prm])
    assert caught.value.remedy


def test_an_improper_of_other_atom_types_does_no_harm(files):
    psf, crd, prm = files
    prm.write_text(prm.read_text().replace("IMPROPER\n", "IMPROPER\nX CA CB X 3.0 2 180.0\n", 1))
    assert read_charmm(psf, crd, [prm]).system.n_atoms == 30


def test_an_nbfix_that_comes_before_its_atom_types_is_refused(files, tmp_path):
    """OpenMM reads .prm before .str and passes over an NBFIX of a type it has not met."""
    psf, crd, prm = files
    lines = prm.read_text().split("\n")
    masses = [line for line in lines if line.startswith("MASS ")]
    chloride = next(line for line in masses if line.split()[2] == "X23")
    sizes = next(line for line in lines if line.startswith("X23 0.0 "))
    prm.write_text("\n".join(line for line in lines if line not in (chloride, sizes)))
    stream = tmp_path / "ions.str"
    stream.write_text(
        f"* ions\n*\nread rtf card append\n{chloride}\nEND\nread para card flex append\n"
        f"NONBONDED\n{sizes}\nEND\nreturn\n"
    )
    with pytest.raises(InputError, match="NBFIX of X22 and X23 stands before both atom types"):
        read_charmm(psf, crd, [prm, stream])


def test_masses_moved_to_hydrogens_do_not_change_elements(solution, files):
    psf, crd, prm = files
    found = terms(charmm36(solution[0]))
    before = read_charmm(psf, crd, [prm]).system.numbers
    masses = np.array(found["masses"])
    for a, b in solution[0].bonds():
        heavy, light = sorted((a.index, b.index), key=lambda k: -masses[k])
        if masses[light] < 1.1:
            masses[[light, heavy]] += [2.016, -2.016]
    write_psf(psf, solution[0], {**found, "masses": masses.tolist()})
    assert read_charmm(psf, crd, [prm]).system.numbers.tolist() == before.tolist()


LONE_PAIR = (
    """PSF

       1 !NTITLE
 REMARKS water with a lone pair

       4 !NATOM
       1 A    1    TIP4 OH2  OT     0.000000      15.999400           0
       2 A    1    TIP4 H1   HT     0.520000       1.008000           0
       3 A    1    TIP4 H2   HT     0.520000       1.008000           0
       4 A    1    TIP4 OM   LP    -1.040000       0.000000          -1

       2 !NBOND: bonds
       1       2       1       3

       1 !NTHETA: angles
       2       1       3

       0 !NPHI: dihedrals

       0 !NIMPHI: impropers

       1       4 !NUMLP NUMLPH
       3       1   F  -0.150000       0.00000       0.00000
       4       1       2       3

""",
    "* water\n*\nATOMS\nMASS 1 OT 15.9994\nMASS 2 HT 1.008\nMASS 3 LP 0.0\n\nBONDS\nOT HT 450.0 0.9572\n\n"
    "ANGLES\nHT OT HT 55.0 104.52\n\nNONBONDED nbxmod 5\nOT 0.0 -0.155 1.7699\nHT 0.0 -0.046 0.2245\n"
    "LP 0.0 0.0 0.0\n\nEND\n",
    "HETATM    1  OH2 HOH A   1       0.000   0.000   0.000  1.00  0.00           O\n"
    "HETATM    2  H1  HOH A   1       0.957   0.000   0.000  1.00  0.00           H\n"
    "HETATM    3  H2  HOH A   1      -0.240   0.927   0.000  1.00  0.00           H\n"
    "HETATM    4  OM  HOH A   1       0.092   0.119   0.000  1.00  0.00            \nEND\n",
)


@pytest.mark.parametrize("box", [None, CUBE * nanometer], ids=["vacuum", "box"])
def test_a_lone_pair_is_a_site_without_a_nucleus(tmp_path, box):
    for name, text in zip(("w.psf", "w.prm", "w.pdb"), LONE_PAIR, strict=True):
        (tmp_path / name).write_text(text)
    read = read_charmm(tmp_path / "w.psf", tmp_path / "w.pdb", [tmp_path / "w.prm"], box=box)
    assert read.system.numbers.tolist() == [8, 1, 1, 0]
    assert read.system.charges.tolist() == [0.0, 0.52, 0.52, -1.04]
    forces = openmm_system(read)
    assert forces.isVirtualSite(3)
    context = openmm.Context(
        forces, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(read.system.positions / nanometer)
    context.computeVirtualSites()
    site = context.getState(positions=True).getPositions(asNumpy=True)._value[3]
    assert site * nanometer == pytest.approx(read.system.positions[3], abs=0.002 * angstrom)
