"""One molecule, written for several programs here, must have one energy per force."""

import numpy as np
import openmm
import pytest
from openmm import app, unit

from drupe.embedding import MolecularSystem
from drupe.embedding.structures.charmm import read_charmm
from drupe.embedding.structures.gromacs import read_gromacs
from drupe.embedding.structures.masses import with_hydrogen_mass
from drupe.embedding.structures.openmm_objects import check_box, read_openmm
from drupe.embedding.structures.pdb import check_pdb, read_pdb_with_system
from drupe.embedding.structures.structure import (
    cut_out,
    locate,
    openmm_system,
    openmm_topology,
    read_amber,
    read_structure,
    read_system,
)
from drupe.embedding.structures.xyz import read_xyz
from drupe.errors import InputError
from drupe.units import angstrom, nanometer

KCAL = 4.184


def energies(structure):
    """kJ/mol by kind of force, on the double-precision reference platform."""
    forces = openmm_system(structure)
    kinds = {}
    for group, force in enumerate(forces.getForces()):
        force.setForceGroup(group)
        kinds.setdefault(type(force).__name__, set()).add(group)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(forces, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(structure.system.positions / nanometer)
    if structure.system.box is not None:
        context.setPeriodicBoxVectors(*(structure.system.box / nanometer))
    return {
        kind: context.getState(energy=True, groups=groups).getPotentialEnergy()._value
        for kind, groups in kinds.items()
    }


def numbers_of(force, count, get):
    """Parameters of every term as plain numbers in OpenMM's units."""
    rows = [getattr(force, get)(k) for k in range(getattr(force, count)())]
    return [[v._value if unit.is_quantity(v) else v for v in row] for row in rows]


def terms(system):
    by_kind = {type(force).__name__: force for force in system.getForces()}
    return {
        "bonds": numbers_of(by_kind["HarmonicBondForce"], "getNumBonds", "getBondParameters"),
        "angles": numbers_of(by_kind["HarmonicAngleForce"], "getNumAngles", "getAngleParameters"),
        "torsions": numbers_of(by_kind["PeriodicTorsionForce"], "getNumTorsions", "getTorsionParameters"),
        "atoms": numbers_of(by_kind["NonbondedForce"], "getNumParticles", "getParticleParameters"),
        "pairs": [
            row
            for row in numbers_of(by_kind["NonbondedForce"], "getNumExceptions", "getExceptionParameters")
            if row[2] != 0 or row[4] != 0
        ],
        "masses": [system.getParticleMass(i)._value for i in range(system.getNumParticles())],
    }


def write_gromacs(structure, folder, box="0 0 0"):
    system, found = structure.system, terms(openmm_system(structure))
    out = ["[ defaults ]", "1 2 yes 0.5 0.8333333333333334", "[ atomtypes ]"]
    for i, (_, sigma, epsilon) in enumerate(found["atoms"]):
        out.append(f"t{i} {found['masses'][i]} 0.0 A {sigma!r} {epsilon!r}")
    out += ["[ moleculetype ]", "MOL 3", "[ atoms ]"]
    for i, (charge, _, _) in enumerate(found["atoms"]):
        out.append(f"{i + 1} t{i} 1 TMP {system.atom_names[i]} {i + 1} {charge!r} {found['masses'][i]}")
    out.append("[ bonds ]")
    out += [f"{i + 1} {j + 1} 1 {length!r} {k!r}" for i, j, length, k in found["bonds"]]
    out.append("[ pairs ]")
    out += [f"{i + 1} {j + 1} 1" for i, j, *_ in found["pairs"]]
    out.append("[ angles ]")
    out += [f"{i + 1} {j + 1} {k + 1} 1 {np.degrees(a)!r} {f!r}" for i, j, k, a, f in found["angles"]]
    out.append("[ dihedrals ]")
    for *four, periodicity, phase, k in found["torsions"]:
        out.append(" ".join(str(a + 1) for a in four) + f" 9 {np.degrees(phase)!r} {k!r} {periodicity}")
    out += ["[ system ]", "one molecule", "[ molecules ]", "MOL 1", ""]
    (folder / "mol.top").write_text("\n".join(out).replace("np.float64(", "").replace(")", ""))
    lines = ["one molecule", str(system.n_atoms)]
    for i, (x, y, z) in enumerate(system.positions / nanometer):
        # More digits than usual: the format counts them from the distance between the points.
        lines.append(f"{1:5d}{'TMP':<5}{system.atom_names[i]:>5}{i + 1:5d}{x:14.9f}{y:14.9f}{z:14.9f}")
    (folder / "mol.gro").write_text("\n".join([*lines, box, ""]))
    return folder / "mol.top", folder / "mol.gro"


def write_charmm(structure, folder):
    system, found = structure.system, terms(openmm_system(structure))
    psf = ["PSF", "", "       1 !NTITLE", " REMARKS one molecule", "", f"{system.n_atoms:8d} !NATOM"]
    prm = ["* parameters", "*", "ATOMS"]
    for i, (charge, _, _) in enumerate(found["atoms"]):
        mass = found["masses"][i]
        psf.append(
            f"{i + 1:8d} A    1    TMP  {system.atom_names[i]:<4} X{i:<3d} {charge:14.10f} {mass:12.6f} 0"
        )
        prm.append(f"MASS {i + 1} X{i} {mass:.6f}")

    def section(title, rows, per_line):
        flat = [a + 1 for row in rows for a in row]
        psf.extend(["", f"{len(rows):8d} !{title}"])
        for start in range(0, len(flat), per_line):
            psf.append("".join(f"{a:8d}" for a in flat[start : start + per_line]))

    section("NBOND: bonds", [row[:2] for row in found["bonds"]], 8)
    section("NTHETA: angles", [row[:3] for row in found["angles"]], 9)
    section("NPHI: dihedrals", sorted({tuple(row[:4]) for row in found["torsions"]}), 8)
    for title in ("NIMPHI: impropers", "NDON: donors", "NACC: acceptors"):
        psf.extend(["", f"{0:8d} !{title}"])
    psf.extend(["", f"{0:8d} !NNB", ""])
    psf.extend(
        "".join(f"{0:8d}" for _ in range(min(8, system.n_atoms - s))) for s in range(0, system.n_atoms, 8)
    )
    psf.extend(["", "       1       0 !NGRP NST2", "       0       0       0", ""])
    prm.append("BONDS")  # CHARMM has no factor 1/2, kcal, angstrom and Rmin/2
    prm += [f"X{i} X{j} {k / 2 / KCAL / 100:.12g} {10 * r:.12g}" for i, j, r, k in found["bonds"]]
    prm.append("ANGLES")
    prm += [f"X{i} X{j} X{k} {f / 2 / KCAL:.12g} {np.degrees(a):.12g}" for i, j, k, a, f in found["angles"]]
    prm.append("DIHEDRALS")
    for *four, periodicity, phase, k in found["torsions"]:
        names = " ".join(f"X{a}" for a in four)
        prm.append(f"{names} {k / KCAL:.12g} {periodicity} {np.degrees(phase):.12g}")
    prm += ["NONBONDED nbxmod 5 atom cdiel", "cutnb 14.0 ctofnb 12.0 ctonnb 10.0 eps 1.0 e14fac 1.0 wmin 1.5"]
    for i, (_, sigma, epsilon) in enumerate(found["atoms"]):
        half = 10 * sigma * 2 ** (1 / 6) / 2
        prm.append(f"X{i} 0.0 {-epsilon / KCAL:.12g} {half:.12g} 0.0 {-epsilon / 2 / KCAL:.12g} {half:.12g}")
    prm += ["END", ""]
    (folder / "mol.psf").write_text("\n".join(psf))
    (folder / "mol.prm").write_text("\n".join(prm))
    write_pdb(structure, folder)
    crd = ["* one molecule", "*", f"{system.n_atoms:5d}"]
    for i, (x, y, z) in enumerate(system.positions / angstrom):
        crd.append(
            f"{i + 1:5d}{1:5d} TMP  {system.atom_names[i]:<4}{x:10.5f}{y:10.5f}{z:10.5f} A    1      0.00000"
        )
    (folder / "mol.crd").write_text("\n".join([*crd, ""]))
    return folder / "mol.psf", folder / "mol.crd", [folder / "mol.prm"]


def write_pdb(structure, folder):
    path = folder / "mol.pdb"
    with path.open("w") as file:
        positions = structure.system.positions / nanometer * unit.nanometer
        app.PDBFile.writeFile(openmm_topology(structure.system), positions, file)
    return path


@pytest.fixture(scope="module")
def xylene(t4l_file):
    return read_amber(t4l_file("ligand.prmtop"), t4l_file("ligand-minimized.crd"), implicit_solvent=None)


def same(ours, theirs, rel):
    assert ours.keys() >= theirs.keys()
    for kind, energy in theirs.items():
        assert ours[kind] == pytest.approx(energy, rel=rel, abs=1e-7), kind


def test_gromacs_files_give_the_energies_of_the_amber_files(xylene, tmp_path):
    top, gro = write_gromacs(xylene, tmp_path)
    read = read_gromacs(top, gro)
    # 1e-6: coordinates are written to 1e-9 nm, bonds are stiff.
    same(energies(read), energies(xylene), 1e-6)
    assert read.system.numbers.tolist() == xylene.system.numbers.tolist()
    assert read.system.bonds.tolist() == xylene.system.bonds.tolist()
    assert read.system.charges == pytest.approx(xylene.system.charges, abs=1e-12)
    assert MolecularSystem.from_gromacs(top, gro).key == read.system.key == read_system(top, gro).key


def test_a_gromacs_element_comes_from_the_mass_not_from_the_name(xylene, tmp_path):
    top, gro = write_gromacs(xylene, tmp_path)
    for path in (top, gro):
        path.write_text(path.read_text().replace(" C1 ", " CL "))
    assert read_gromacs(top, gro).system.numbers.tolist() == xylene.system.numbers.tolist()


def test_charmm_files_give_the_energies_of_the_system_they_describe(xylene, tmp_path):
    forces = openmm_system(xylene)
    nonbonded = next(f for f in forces.getForces() if isinstance(f, openmm.NonbondedForce))
    for k in range(nonbonded.getNumExceptions()):
        i, j, product, sigma, epsilon = nonbonded.getExceptionParameters(k)
        if product._value != 0:  # CHARMM does not scale the charges of 1-4 pairs
            full = nonbonded.getParticleParameters(i)[0] * nonbonded.getParticleParameters(j)[0]
            nonbonded.setExceptionParameters(k, i, j, full, sigma, epsilon)
    torsions = next(f for f in forces.getForces() if isinstance(f, openmm.PeriodicTorsionForce))
    bonded = {tuple(b) for b in xylene.system.bonds.tolist()}
    for k in range(torsions.getNumTorsions()):  # impropers have another form in CHARMM
        a, b, c, d, n, phase, _ = torsions.getTorsionParameters(k)
        if not all(tuple(sorted(pair)) in bonded for pair in ((a, b), (b, c), (c, d))):
            torsions.setTorsionParameters(k, a, b, c, d, n, phase, 0.0)
    for k in reversed(range(torsions.getNumTorsions())):
        assert torsions.getTorsionParameters(k)[6]._value >= 0
    topology = openmm_topology(xylene.system)
    plain = read_openmm(topology, without_zero_torsions(forces), xylene.system.positions / nanometer)
    psf, crd, prm = write_charmm(plain, tmp_path)
    rounded = read_charmm(psf, crd, prm)
    reference = read_openmm(topology, openmm_system(plain), rounded.system.positions / nanometer)
    # 1e-4 and 2e-3: 1 kcal is 4.184 kJ here, CHARMM's Coulomb constant is kept by OpenMM as its own.
    theirs = energies(reference)
    ours = energies(rounded)
    same(ours, theirs, 1e-6)
    assert rounded.system.charges == pytest.approx(plain.system.charges, abs=1e-9)
    assert rounded.system.numbers.tolist() == xylene.system.numbers.tolist()
    by_pdb = MolecularSystem.from_charmm(psf, tmp_path / "mol.pdb", prm)
    assert by_pdb.positions == pytest.approx(rounded.system.positions, abs=0.0006 * angstrom)
    assert read_structure(psf, crd, parameters=prm).system.key == rounded.system.key


def without_zero_torsions(forces):
    out = openmm.XmlSerializer.clone(forces)
    index = next(k for k, f in enumerate(out.getForces()) if isinstance(f, openmm.PeriodicTorsionForce))
    old = out.getForce(index)
    new = openmm.PeriodicTorsionForce()
    for k in range(old.getNumTorsions()):
        row = old.getTorsionParameters(k)
        if row[6]._value != 0:
            new.addTorsion(*row)
    out.removeForce(index)
    out.addForce(new)
    return out


def test_a_pdb_with_its_system_gives_the_energies_of_the_amber_files(xylene, tmp_path):
    pdb = write_pdb(xylene, tmp_path)
    (tmp_path / "system.xml").write_text(xylene.openmm_xml)
    read = read_pdb_with_system(pdb, tmp_path / "system.xml")
    at_rounded = read_openmm(
        openmm_topology(xylene.system), openmm_system(xylene), read.system.positions / nanometer
    )
    assert energies(read) == pytest.approx(energies(at_rounded), rel=1e-12)
    assert read.system.charges.tolist() == xylene.system.charges.tolist()
    assert MolecularSystem.from_pdb(pdb, tmp_path / "system.xml").key == read.system.key
    assert read_structure(pdb, system=tmp_path / "system.xml").system.key == read.system.key


def test_objects_in_memory_are_the_files_they_came_from(xylene):
    topology, forces = openmm_topology(xylene.system), openmm_system(xylene)
    nm = xylene.system.positions / nanometer
    system = MolecularSystem.from_openmm(topology, forces, nm * unit.nanometer)
    assert system.positions == pytest.approx(xylene.system.positions, rel=1e-14)
    assert system.with_positions(xylene.system.positions).key == xylene.system.key
    with pytest.raises(InputError, match="topology 18, System 18, positions 17"):
        MolecularSystem.from_openmm(topology, forces, nm[:-1])
    forces.addForce(openmm.CustomCVForce("0"))
    with pytest.raises(InputError, match="CustomCVForce"):
        MolecularSystem.from_openmm(topology, forces, nm)


def test_mass_moved_to_hydrogens_is_no_other_element(xylene, t4l_file):
    files = t4l_file("ligand.prmtop"), t4l_file("ligand-minimized.crd")
    heavy = openmm_system(with_hydrogen_mass(read_amber(*files, implicit_solvent=None), 3.0))
    topology, nm = openmm_topology(xylene.system), xylene.system.positions / nanometer
    assert MolecularSystem.from_openmm(topology, heavy, nm).numbers.tolist() == xylene.system.numbers.tolist()
    heavy.setParticleMass(0, 40.08)  # calcium
    with pytest.raises(
        InputError, match=r"atom 0 \(C1 of TMP\) was read as element C, but its mass is 40.08"
    ):
        MolecularSystem.from_openmm(topology, heavy, nm)


BOX = "package:openmmtools/data/"


def box_files():
    from pathlib import Path

    folder = BOX + "alanine-dipeptide-explicit/alanine-dipeptide."
    return locate(folder + "prmtop", Path()), locate(folder + "crd", Path())


@pytest.fixture(scope="module")
def solvated():
    return read_amber(*box_files(), implicit_solvent=None)


def test_a_periodic_amber_box_is_read_with_its_box(solvated):
    lengths = np.diag(solvated.system.box) / angstrom
    # The last line of the file, its lengths and angles.
    assert lengths.tolist() == pytest.approx([float(x) for x in box_files()[1].read_text().split()[-6:-3]])
    waters = sum(name == "HOH" for name in solvated.system.residue_names) // 3
    assert waters > 500
    assert solvated.system.charges.sum() == pytest.approx(0.0, abs=1e-3)
    forces = openmm_system(solvated)
    assert forces.getNumConstraints() == 0
    assert forces.usesPeriodicBoundaryConditions()
    # An independent build of the same files by OpenMM's own reader.
    prmtop, crd = box_files()
    read = app.AmberInpcrdFile(str(crd))
    other = app.AmberPrmtopFile(str(prmtop), periodicBoxVectors=read.boxVectors).createSystem(
        nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer, rigidWater=False,
        removeCMMotion=False, ewaldErrorTolerance=1e-5,
    )  # fmt: skip
    context = openmm.Context(other, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU"))
    context.setPositions(read.positions)
    expected = context.getState(energy=True).getPotentialEnergy()._value
    context = openmm.Context(forces, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU"))
    context.setPositions(solvated.system.positions / nanometer)
    assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(expected, rel=1e-6)


def test_a_box_does_not_go_with_implicit_solvent():
    with pytest.raises(InputError, match="periodic box, which does not go with the implicit solvent OBC2"):
        read_amber(*box_files())


def test_a_periodic_gromacs_box_is_the_amber_box(xylene, tmp_path):
    top, gro = write_gromacs(xylene, tmp_path, box="3.0 3.1 3.2")
    read = read_gromacs(top, gro)
    assert read.system.box == pytest.approx(np.diag([3.0, 3.1, 3.2]) * nanometer)
    # Its lattice sum and that of the Amber parameters in the same box are one number.
    topology = openmm_topology(xylene.system)
    forces = openmm_system(xylene)
    nonbonded = next(f for f in forces.getForces() if isinstance(f, openmm.NonbondedForce))
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
    nonbonded.setCutoffDistance(0.9)
    nonbonded.setEwaldErrorTolerance(1e-5)
    nm = read.system.positions / nanometer
    amber = read_openmm(topology, forces, nm, box=read.system.box)
    same(energies(read), energies(amber), 1e-6)
    write_gromacs(xylene, tmp_path, box="1.7 3.1 3.2")
    with pytest.raises(InputError, match=r"17\.00 A wide, less than two cutoffs of 9\.0 A"):
        read_gromacs(top, gro)
    with pytest.raises(InputError, match="no reduced periodic box"):
        check_box(np.array([[3.0, 0, 0], [1.9, 3.0, 0], [0, 0, 3.0]]) * nanometer)


def test_a_triclinic_gromacs_box_is_kept(xylene, tmp_path):
    top, gro = write_gromacs(xylene, tmp_path, box="3.0 2.9 2.8 0 0 1.0 0 -0.9 0.8")
    box = read_gromacs(top, gro).system.box / nanometer
    assert box == pytest.approx(np.array([[3.0, 0, 0], [1.0, 2.9, 0], [-0.9, 0.8, 2.8]]))


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda t: t[: len(t) // 2], "is cut off"),
        (lambda t: t + t, "goes on"),
        (lambda t: t.replace("one molecule\n18", "one molecule\nmany"), "line 2 is 'many'"),
        (lambda t: "", "is empty"),
    ],
)
def test_damaged_gromacs_coordinates_are_refused(xylene, tmp_path, edit, says):
    top, gro = write_gromacs(xylene, tmp_path)
    gro.write_text(edit(gro.read_text()))
    with pytest.raises(InputError, match=says):
        read_gromacs(top, gro)


def test_files_that_do_not_belong_together_are_refused(xylene, t4l, tmp_path):
    top, gro = write_gromacs(xylene, tmp_path)
    fewer = cut_out(xylene, range(17))
    (tmp_path / "less").mkdir()
    _, other = write_gromacs(fewer, tmp_path / "less")
    with pytest.raises(InputError, match="has 17 atoms"):
        read_gromacs(top, other)
    top.write_text(top.read_text().replace("[ bonds ]", "[ bonds ]\n1 2 77 0.1"))
    with pytest.raises(InputError, match="cannot be read as"):
        read_gromacs(top, gro)
    psf, crd, prm = write_charmm(xylene, tmp_path)
    text = prm[0].read_text()
    prm[0].write_text("\n".join(line for line in text.split("\n") if not line.startswith("X0 X1 ")))
    with pytest.raises(InputError, match="does not go with its parameters"):
        read_charmm(psf, crd, prm)
    with pytest.raises(InputError, match="CHARMM parameters are missing"):
        read_charmm(psf, crd, [])
    with pytest.raises(InputError, match=r"needs coordinates, parameters"):
        read_structure(psf)
    with pytest.raises(InputError, match="of no kind that is known"):
        read_structure(crd)
    with pytest.raises(InputError, match="parameters does not go with the GROMACS file"):
        read_structure(top, gro, parameters=prm)


ATOM = "ATOM      1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O  "


def at(x, y, z):
    return ATOM.replace("   0.000   0.000   0.000", f"{x:>8}{y:>8}{z:>8}") + "\nEND\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (at("****.***", "0.000", "0.000"), r"line 1, columns 31 to 38: the x coordinate is '\*{4}"),
        (at("0.000", "nan", "0.000"), "columns 39 to 46: the y coordinate is '     nan'"),
        (at("0.000", "0.000", "inf"), "the z coordinate"),
        (ATOM + "\n" + ATOM[:40], "line 2: the atom record is cut off after column 40"),
        (ATOM + "\n", "no END record"),
        ("", "is empty"),
        ("\x00\x01PDB", "is not text"),
        ("REMARK nothing\nEND\n", "no ATOM record"),
        (ATOM.replace("           O  ", "          QQ  ") + "\nEND\n", r"unknown elements: 'QQ' in line 1"),
        (ATOM.replace("           O  ", "") + "\nEND\n", "names no element for 1 atoms"),
        (ATOM.replace(" O   HOH", " O  AHOH") + "\nEND\n", "alternate locations"),
        (f"MODEL        1\n{ATOM}\nENDMDL\nMODEL        2\n{ATOM}\nENDMDL\nEND\n", "2 models"),
    ],
)  # fmt: skip
def test_a_damaged_pdb_is_refused_with_its_place(tmp_path, text, says):
    path = tmp_path / "bad.pdb"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        check_pdb(path)
    assert "bad.pdb" in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda t: t.replace("</Forces>", '<Force type="PythonForce" version="1"/></Forces>'), "PythonForce"),
        (lambda t: t.replace("</Forces>", "<Force type='TorchForce'/></Forces>"), "TorchForce"),
        (lambda t: t.replace("</Forces>", "<Force type='&#80;ythonForce'/></Forces>"), "ythonForce"),
        (lambda t: t.replace("</Forces>", '<Force type garbage="PythonForce"/></Forces>'), "PythonForce"),
        (lambda t: '<!DOCTYPE a [<!ENTITY b "c">]>' + t, "declares a document type"),
        (lambda t: t.replace("</Forces>", "<!-- <Force/> --></Forces>"), "a comment"),
        (lambda t: '<?xml version="1.0" encoding="UTF-7"?>' + t.split("?>")[1], "an encoding of its own"),
        (lambda t: t[: len(t) // 2], "well-formed"),
        (lambda t: t.replace('type="System"', 'type="State"'), "holds State"),
    ],
)
def test_a_hostile_or_damaged_system_is_never_built(xylene, tmp_path, edit, says, monkeypatch):
    pdb = write_pdb(xylene, tmp_path)
    evil = tmp_path / "evil.xml"
    evil.write_text(edit(xylene.openmm_xml))
    monkeypatch.setattr(openmm.XmlSerializer, "deserialize", lambda text: pytest.fail("was deserialised"))
    with pytest.raises(InputError, match=says):
        read_pdb_with_system(pdb, evil)


def test_a_python_force_in_memory_is_refused_before_it_is_pickled(xylene):
    forces = openmm_system(xylene)
    forces.addForce(openmm.PythonForce(energies))
    with pytest.raises(InputError, match="PythonForce"):
        read_openmm(openmm_topology(xylene.system), forces, xylene.system.positions / nanometer)


def test_an_xyz_file_is_plain_atoms(tmp_path):
    path = tmp_path / "water.xyz"
    path.write_text("3\nwater\nO 0 0 0\nH 0.76 0 0.59\nH -0.76 0 0.59\n")
    system = read_system(path)
    assert system.numbers.tolist() == [8, 1, 1]
    assert system.positions[1] / angstrom == pytest.approx([0.76, 0, 0.59])
    assert system.charges.tolist() == [0, 0, 0]
    path.write_text(path.read_text() * 2)
    with pytest.raises(InputError, match="2 frames"):
        read_system(path)
    path.write_text("3\nwater\nO 0 0 0\nH 0.76 0 0.59\n")
    with pytest.raises(InputError, match="cannot be read as an xyz file"):
        read_system(path)
    path.write_text("1\n\nQq 0 0 0\n")
    with pytest.raises(InputError, match="cannot be read as an xyz file"):
        read_system(path)


@pytest.mark.parametrize("column", ["charge", "charges", "q_mm", "initial_charges"])
def test_xyz_charges_by_any_of_their_names(tmp_path, column):
    path = tmp_path / "a.xyz"
    path.write_text(f"2\nProperties=species:S:1:pos:R:3:{column}:R:1\nO 0 0 0 -0.5\nX 0 0 3 0.5\n")
    assert read_xyz(path).charges.tolist() == [-0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n\nCA 0 0 0\n", "calls atoms CA"),
        ("1\n\nO 0 0 0 0.3\n", "more than four columns"),
        ("1\nProperties=species:S:1:pos:R:3:REF_charges:R:1\nO 0 0 0 0.3\n", "which one"),
        ("1\n\nX 0 0 0\n", "point charges"),
        ("0\n\n", "no atoms"),
    ],
)
def test_xyz_that_would_be_misread_is_refused(tmp_path, text, message):
    path = tmp_path / "a.xyz"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_xyz(path)
