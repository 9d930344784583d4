"""A GROMACS topology spread over files is the one-file topology; what cannot be found is named."""

import openmm
import pytest
from openmm import app, unit

from drupe.embedding.structures.gromacs import read_gromacs
from drupe.embedding.structures.structure import openmm_system, read_structure
from drupe.errors import InputError
from drupe.units import nanometer

DEFAULTS = "[ defaults ]\n1 2 yes 0.5 0.8333\n"
TYPES = (
    "[ atomtypes ]\nopls_O 8 15.9994 0.0 A 0.30 0.8\n"
    "opls_H 1 1.008 0.0 A 0.12 0.1\nNa+ 11 22.99 0.0 A 0.33 0.01\n"
)
BONDS = "[ bondtypes ]\nopls_O opls_H 1 0.098 450000\nopls_O opls_O 1 0.145 380000\n"
ANGLES = "[ angletypes ]\nopls_H opls_O opls_O 1 100.0 400.0\n"
TORSIONS = "#define turn 0.0 9.5 2\n[ dihedraltypes ]\nopls_H opls_O opls_O opls_H 9 0.0 7.3 1\n"
PEROXIDE = """[ moleculetype ]
HOOH 3
[ atoms ]
1 opls_H 1 HOH H1 1 0.43 1.008
2 opls_O 1 HOH O1 1 -0.43 15.9994
3 opls_O 1 HOH O2 1 -0.43 15.9994
4 opls_H 1 HOH H2 1 0.43 1.008
[ bonds ]
1 2 1
2 3 1
3 4 1
[ angles ]
1 2 3 1
2 3 4 1
[ pairs ]
1 4 1
[ dihedrals ]
1 2 3 4 9
1 2 3 4 9 turn
"""
ION = "[ moleculetype ]\nNA 1\n[ atoms ]\n1 Na+ 1 NA NA 1 1.0 22.99\n"
END = "[ system ]\nperoxide\n[ molecules ]\nHOOH 1\nNA 1\n"
GRO = """peroxide
    5
    1HOH     H1    1   0.020   0.090   0.050
    1HOH     O1    2   0.000   0.000   0.000
    1HOH     O2    3   0.147   0.000   0.000
    1HOH     H2    4   0.160  -0.010   0.100
    2NA      NA    5   0.450   0.100  -0.200
   0.00000   0.00000   0.00000
"""

#: The top file names a folder, which names files beside itself and below; the molecules lie above; the ion
#: comes from the folder of force fields.
TREE = {
    "run/mol.top": '#include "./ff.ff/forcefield.itp" ; relative\n#include <../molecules/hooh.itp>\n'
    f'#ifdef POSRES\n#include "posre.itp"\n#endif\n#include "ions.ff/na.itp"\n{END}',
    "run/ff.ff/forcefield.itp": f'{DEFAULTS}#include "atoms.itp"\n#include "bonded/all.itp"\n',
    "run/ff.ff/atoms.itp": TYPES,
    "run/ff.ff/bonded/all.itp": f"#ifndef SEEN\n#define SEEN\n{BONDS}{TORSIONS}"
    '#include "angles.itp"\n#endif\n',
    "run/ff.ff/bonded/angles.itp": f'#include "all.itp"\n{ANGLES}',  # a circle that its guard ends
    "molecules/hooh.itp": PEROXIDE,
    "share/top/ions.ff/na.itp": ION,
}


@pytest.fixture
def tree(tmp_path):
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "run" / "mol.gro").write_text(GRO)
    return tmp_path


def energies(system, positions):
    for group, force in enumerate(system.getForces()):
        force.setForceGroup(group)
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(positions)
    return {
        type(force).__name__: context.getState(energy=True, groups={group}).getPotentialEnergy()._value
        for group, force in enumerate(system.getForces())
    }


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # OpenMM leaves its files to the garbage collector
def test_a_tree_of_includes_is_the_flat_topology(tree):
    read = read_gromacs(tree / "run" / "mol.top", tree / "run" / "mol.gro", include=tree / "share" / "top")
    flat = tree / "flat.top"
    flat.write_text(DEFAULTS + TYPES + BONDS + TORSIONS + ANGLES + PEROXIDE + ION + END)
    alone = app.GromacsTopFile(str(flat)).createSystem(constraints=None, rigidWater=False)
    theirs = energies(alone, app.GromacsGroFile(str(tree / "run" / "mol.gro")).positions)
    ours = energies(openmm_system(read), read.system.positions / nanometer)
    assert all(
        abs(theirs[k]) > 0.1
        for k in ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "NonbondedForce")
    )
    for kind, energy in ours.items():
        assert energy == pytest.approx(theirs[kind], rel=1e-9), kind
    # 7.3 and 9.5 kJ/mol: both torsions, that of the #define included.
    torsions = next(f for f in alone.getForces() if isinstance(f, openmm.PeriodicTorsionForce))
    assert [torsions.getTorsionParameters(k)[6] / unit.kilojoule_per_mole for k in range(2)] == [7.3, 9.5]
    again = read_structure(tree / "run" / "mol.top", tree / "run" / "mol.gro", include=tree / "share" / "top")
    assert again.system.key == read.system.key


def test_the_folder_of_the_environment_is_searched(tree, monkeypatch):
    monkeypatch.setenv("GMXDATA", str(tree / "share"))
    assert read_gromacs(tree / "run" / "mol.top", tree / "run" / "mol.gro").system.n_atoms == 5


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        (
            "run/ff.ff/forcefield.itp", '"atoms.itp"', '"atomz.itp"',
            r'forcefield\.itp, line 3: there is no file for #include "atomz\.itp" \(looked in .*ff.*top\)',
        ),
        ("run/mol.top", "#ifdef POSRES", "#ifndef POSRES", r'mol\.top, line 4: .* #include "posre\.itp"'),
        ("run/mol.top", END, '#include "mol.top"\n', "included 40 levels deep"),
        (
            "molecules/hooh.itp", "[ pairs ]", "[ polarization ]\n1 2 1 0.001\n[ pairs ]",
            r"hooh\.itp, line 16: the section \[ polarization \] has terms that OpenMM does not know",
        ),
        (
            "run/mol.top", "[ system ]",
            "[ intermolecular_interactions ]\n[ bonds ]\n1 2 1 0.2 10\n[ system ]",
            r"the section \[ intermolecular_interactions \]",
        ),
        ("run/ff.ff/atoms.itp", TYPES, "", r"atoms\.itp is empty"),
        ("molecules/hooh.itp", "[ bonds ]", "[ Bonds ]", r"passes over \[ Bonds \] for its capital letters"),
        ("run/mol.top", "#include <", "#include\t<not-", r'no file for #include "not-\.\./molecules'),
    ],
)  # fmt: skip
def test_what_an_include_lacks_or_would_lose_is_named(tree, name, old, new, says):
    path = tree / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=says) as caught:
        read_gromacs(tree / "run" / "mol.top", tree / "run" / "mol.gro", include=tree / "share" / "top")
    assert caught.value.remedy


def test_a_name_that_means_two_files_is_refused(tree):
    """OpenMM takes the one beside the top file, GROMACS the one beside the including file."""
    other = tree / "run" / "atoms.itp"
    other.write_text(TYPES.replace("0.30", "0.60"))
    files = tree / "run" / "mol.top", tree / "run" / "mol.gro"
    with pytest.raises(
        InputError, match=r'#include "atoms\.itp" may mean .*run/atoms\.itp or .*ff\.ff/atoms'
    ):
        read_gromacs(*files, include=tree / "share" / "top")
    other.write_text(TYPES)
    assert read_gromacs(*files, include=tree / "share" / "top").system.n_atoms == 5


def test_restraints_that_a_define_turns_on_are_refused(tree):
    (tree / "run" / "posre.itp").write_text("[ position_restraints ]\n1 1 1000 1000 1000\n")
    top = tree / "run" / "mol.top"
    files = top, tree / "run" / "mol.gro"
    assert read_gromacs(*files, include=tree / "share" / "top").system.n_atoms == 5
    top.write_text("#define POSRES\n" + top.read_text())
    with pytest.raises(InputError, match=r"posre\.itp, line 2: the section \[ position_restraints \]"):
        read_gromacs(*files, include=tree / "share" / "top")


def test_tabs_are_blanks(tree):
    top = tree / "run" / "mol.top"
    top.write_text(top.read_text().replace("#ifdef POSRES", "#ifdef\tPOSRES"))
    assert read_gromacs(top, tree / "run" / "mol.gro", include=tree / "share" / "top").system.n_atoms == 5


def test_a_folder_of_force_fields_that_is_not_there_is_named(tree):
    with pytest.raises(InputError, match="there is no folder .*nowhere"):
        read_gromacs(tree / "run" / "mol.top", tree / "run" / "mol.gro", include=tree / "nowhere")
