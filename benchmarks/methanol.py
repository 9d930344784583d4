"""Methanol for benchmarks: its topology, start geometry (nm) and force field, in OpenMM's terms.

The force field is OPLS-AA's (Jorgensen, Maxwell, Tirado-Rives, J. Am. Chem. Soc. 118, 11225 (1996)) with
Lorentz-Berthelot mixing and Amber's 1-4 scaling.
"""

import io

import openmm
from openmm import app, unit

# name, element, charge (e), sigma (nm), epsilon (kJ/mol), nanometres in the start geometry
_METHANOL = (
    ("C1", "C", 0.145, 0.350, 0.276144, (-0.0748, 0.0015, 0.0024)),
    ("O1", "O", -0.683, 0.312, 0.711280, (0.0558, 0.0420, -0.0278)),
    ("H1", "H", 0.040, 0.250, 0.125520, (-0.1293, -0.0202, -0.0901)),
    ("H2", "H", 0.040, 0.250, 0.125520, (-0.1263, 0.0754, 0.0600)),
    ("H3", "H", 0.040, 0.250, 0.125520, (-0.0699, -0.0934, 0.0609)),
    ("H4", "H", 0.418, 1.0, 0.0, (0.0716, -0.0304, -0.0896)),
)
_MASSES = {"C": 12.011, "O": 15.999, "H": 1.008}
_BONDS = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 5))
# kJ/mol and nm, k of k/2 x^2: twice OPLS-AA's
_BONDED = """
 <HarmonicBondForce>
  <Bond type1="C1" type2="O1" length="0.1410" k="267776.0"/>
  <Bond type1="C1" type2="H1" length="0.1090" k="284512.0"/>
  <Bond type1="O1" type2="H4" length="0.0945" k="462750.4"/>
 </HarmonicBondForce>
 <HarmonicAngleForce>
  <Angle type1="H1" type2="C1" type3="H1" angle="1.88146" k="276.144"/>
  <Angle type1="H1" type2="C1" type3="O1" angle="1.91114" k="292.880"/>
  <Angle type1="C1" type2="O1" type3="H4" angle="1.89368" k="460.240"/>
 </HarmonicAngleForce>
 <PeriodicTorsionForce>
  <Proper type1="H1" type2="C1" type3="O1" type4="H4" periodicity1="3" phase1="0.0" k1="0.94140"/>
 </PeriodicTorsionForce>
"""


def force_field() -> io.StringIO:
    """The force field as a file of OpenMM's."""
    types = "".join(
        f'<Type name="{name}" class="{name}" element="{element}" mass="{_MASSES[element]}"/>'
        for name, element, *_ in _METHANOL
        if name not in ("H2", "H3")
    )
    atoms = "".join(
        f'<Atom name="{name}" type="{_type(name)}" charge="{charge}"/>' for name, _, charge, *_ in _METHANOL
    )
    bonds = "".join(f'<Bond atomName1="{_METHANOL[a][0]}" atomName2="{_METHANOL[b][0]}"/>' for a, b in _BONDS)
    pairs = "".join(
        f'<Atom type="{name}" sigma="{sigma}" epsilon="{epsilon}"/>'
        for name, _, _, sigma, epsilon, _ in _METHANOL
        if name not in ("H2", "H3")
    )
    return io.StringIO(
        f'<ForceField><AtomTypes>{types}</AtomTypes><Residues><Residue name="MOH">{atoms}{bonds}</Residue>'
        f'</Residues>{_BONDED}<NonbondedForce coulomb14scale="0.8333333333333334" lj14scale="0.5">'
        f'<UseAttributeFromResidue name="charge"/>{pairs}</NonbondedForce></ForceField>'
    )


def _type(name: str) -> str:
    return "H1" if name in ("H2", "H3") else name


def methanol() -> tuple[app.Topology, unit.Quantity]:
    """Topology and start geometry."""
    topology = app.Topology()
    residue = topology.addResidue("MOH", topology.addChain())
    atoms = [
        topology.addAtom(name, app.Element.getBySymbol(element), residue) for name, element, *_ in _METHANOL
    ]
    for a, b in _BONDS:
        topology.addBond(atoms[a], atoms[b])
    return topology, [openmm.Vec3(*row[-1]) for row in _METHANOL] * unit.nanometer
