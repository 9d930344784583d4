"""Does `Partition.suggest` rank cores as brute-force growth does? Prints one JSON object.

Four complexes from files that come with wheels: p-xylene in T4 lysozyme L99A; p-cresol in T4 lysozyme
(p-xylene with one methyl turned into a hydroxyl; ff14SB, the ligand with tyrosine's side-chain parameters);
the salt bridge of methylguanidinium and acetate in a droplet of TIP3P water (side chains of arginine and
aspartate, both quantum); and the guest B2 in cucurbit[7]uril. Snapshots are of seeded OpenMM dynamics
without a box at 300 K, all atoms flexible (cutoff 1 nm in the lysozyme, whose heavy atoms are held near
their places by springs).

Brute force: every core on the way from each seed group to the whole ligand by CCSD(T) (B2: CCSD) in
PBE, 1s orbitals frozen, all virtual orbitals, one DFT per snapshot. What a core misses is the correction of
the whole ligand less its own, as root mean square difference between two snapshots (kcal/mol). It goes on
where it stopped: one JSON file per snapshot in --folder.

    python benchmarks/core_selection.py [--folder DIR] [--only xylene-t4l] [--basis 6-31G] [--frames 5]
"""

import argparse
import dataclasses
import json
import time
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import numpy as np

SPRING = 1000.0  # kJ/mol/nm^2
GRID = 1  # of both sides
# Heavy atoms of the largest core that is offered; the whole ligand is the yardstick all the same.
LARGEST = {"xylene-t4l": 8, "cresol-t4l": 8, "salt-bridge": 9, "b2-cb7": 6}
METHOD = {name: "CCSD" if name == "b2-cb7" else "CCSD(T)" for name in LARGEST}
QUANTUM = {
    "xylene-t4l": "resname TMP",
    "cresol-t4l": "resname CRE",
    "salt-bridge": "resname MGU ACT",
    "b2-cb7": "resname B2",
}
DROPLET = 1.5  # nm, radius of the water around the salt bridge

# Side chains of arginine and aspartate from C-delta and C-beta on, a hydrogen for the backbone; the methyl
# carbons take the rest of the charge. Positions in nm: the N-H bonds face the carboxylate.
BRIDGE = {
    "MGU": (
        (
            *(("CD", "protein-C8", 0.1044), ("HD1", "protein-H1", 0.0687), ("HD2", "protein-H1", 0.0687)),
            *(("HD3", "protein-H1", 0.0687), ("NE", "protein-N2", -0.5295), ("HE", "protein-H", 0.3456)),
            *(("CZ", "protein-CA", 0.8076), ("NH1", "protein-N2", -0.8627), ("HH11", "protein-H", 0.4478)),
            *(("HH12", "protein-H", 0.4478), ("NH2", "protein-N2", -0.8627), ("HH21", "protein-H", 0.4478)),
            ("HH22", "protein-H", 0.4478),
        ),
        "CD-HD1 CD-HD2 CD-HD3 CD-NE NE-HE NE-CZ CZ-NH1 NH1-HH11 NH1-HH12 CZ-NH2 NH2-HH21 NH2-HH22",
        [
            *([-0.110, 0.258, 0.0], [-0.207, 0.210, 0.0], [-0.100, 0.320, 0.089], [-0.100, 0.320, -0.089]),
            *([-0.004, 0.160, 0.0], [0.091, 0.192, 0.0], [-0.021, 0.028, 0.0], [0.083, -0.055, 0.0]),
            *([0.177, -0.018, 0.0], [0.070, -0.155, 0.0], [-0.144, -0.022, 0.0], [-0.223, 0.040, 0.0]),
            [-0.157, -0.122, 0.0],
        ],
    ),
    "ACT": (
        (
            *(("CB", "protein-2C", -0.1600), ("HB1", "protein-HC", -0.0122), ("HB2", "protein-HC", -0.0122)),
            *(("HB3", "protein-HC", -0.0122), ("CG", "protein-CO", 0.7994), ("OD1", "protein-O2", -0.8014)),
            ("OD2", "protein-O2", -0.8014),
        ),
        "CB-HB1 CB-HB2 CB-HB3 CB-CG CG-OD1 CG-OD2",
        [
            *([0.552, 0.197, 0.0], [0.612, 0.106, 0.0], [0.577, 0.256, 0.089], [0.577, 0.256, -0.089]),
            *([0.402, 0.164, 0.0], [0.320, 0.257, 0.0], [0.368, 0.043, 0.0]),
        ],
    ),
}

# p-cresol with the atom types of tyrosine's side chain; charges of ff14SB, the methyl carbon takes the rest.
CRESOL = """<ForceField><Residues><Residue name="CRE">
 <Atom name="CB" type="protein-CT" charge="-0.0729"/>
 <Atom name="HB1" type="protein-HC" charge="0.0295"/><Atom name="HB2" type="protein-HC" charge="0.0295"/>
 <Atom name="HB3" type="protein-HC" charge="0.0295"/>
 <Atom name="CG" type="protein-CA" charge="-0.0011"/>
 <Atom name="CD1" type="protein-CA" charge="-0.1906"/><Atom name="HD1" type="protein-HA" charge="0.1699"/>
 <Atom name="CD2" type="protein-CA" charge="-0.1906"/><Atom name="HD2" type="protein-HA" charge="0.1699"/>
 <Atom name="CE1" type="protein-CA" charge="-0.2341"/><Atom name="HE1" type="protein-HA" charge="0.1656"/>
 <Atom name="CE2" type="protein-CA" charge="-0.2341"/><Atom name="HE2" type="protein-HA" charge="0.1656"/>
 <Atom name="CZ" type="protein-C" charge="0.3226"/>
 <Atom name="OH" type="protein-OH" charge="-0.5579"/><Atom name="HH" type="protein-HO" charge="0.3992"/>
 <Bond atomName1="CB" atomName2="HB1"/><Bond atomName1="CB" atomName2="HB2"/>
 <Bond atomName1="CB" atomName2="HB3"/><Bond atomName1="CB" atomName2="CG"/>
 <Bond atomName1="CG" atomName2="CD1"/><Bond atomName1="CG" atomName2="CD2"/>
 <Bond atomName1="CD1" atomName2="CE1"/><Bond atomName1="CD2" atomName2="CE2"/>
 <Bond atomName1="CE1" atomName2="CZ"/><Bond atomName1="CE2" atomName2="CZ"/>
 <Bond atomName1="CD1" atomName2="HD1"/><Bond atomName1="CD2" atomName2="HD2"/>
 <Bond atomName1="CE1" atomName2="HE1"/><Bond atomName1="CE2" atomName2="HE2"/>
 <Bond atomName1="CZ" atomName2="OH"/><Bond atomName1="OH" atomName2="HH"/>
</Residue></Residues></ForceField>"""


def data(folder: str) -> Path:
    spec = find_spec("openmmtools")
    return Path(next(iter(spec.submodule_search_locations))) / "data" / folder


def complex_of(name: str):
    """Topology, OpenMM system without constraints, positions in nm."""
    from openmm import app, unit

    if name == "salt-bridge":
        return salt_bridge()
    if name == "b2-cb7":
        files = data("cb7-b2") / "complex-vacuum.prmtop", data("cb7-b2") / "complex-vacuum.inpcrd"
    else:
        home = data("T4-lysozyme-L99A-implicit")
        files = home / "complex.prmtop", home / "complex-minimized.crd"
    parameters = app.AmberPrmtopFile(str(files[0]))
    places = np.array(app.AmberInpcrdFile(str(files[1])).positions.value_in_unit(unit.nanometer))
    if name != "cresol-t4l":
        method = app.NoCutoff if name == "b2-cb7" else app.CutoffNonPeriodic
        return parameters.topology, parameters.createSystem(nonbondedMethod=method), places
    return with_cresol(parameters.topology, places)


def with_cresol(topology, places):
    """Turn one methyl of p-xylene into a hydroxyl in the ring's plane."""
    from openmm import app, unit

    ligand = next(residue for residue in topology.residues() if residue.name == "TMP")
    near = {atom: [] for atom in ligand.atoms()}
    for bond in topology.bonds():
        if bond[0] in near:
            near[bond[0]].append(bond[1])
            near[bond[1]].append(bond[0])

    def symbol(atom):
        return atom.element.symbol

    def heavy(atom):
        return [other for other in near[atom] if symbol(other) == "C"]

    ends = [atom for atom in near if symbol(atom) == "C" and len(heavy(atom)) == 1]
    kept, lost = sorted(ends, key=lambda atom: atom.index)
    names = {"CB": kept, "CG": heavy(kept)[0], "CZ": heavy(lost)[0]}
    names["CD1"], names["CD2"] = (atom for atom in heavy(names["CG"]) if atom is not kept)
    for side in "12":
        names[f"CE{side}"] = next(atom for atom in heavy(names[f"CD{side}"]) if atom is not names["CG"])
    at = {label: places[atom.index] for label, atom in names.items()}
    for label in ("CD1", "CD2", "CE1", "CE2"):
        hydrogen = next(atom for atom in near[names[label]] if symbol(atom) == "H")
        at["H" + label[1:]] = places[hydrogen.index]
    for number, hydrogen in enumerate([a for a in near[kept] if symbol(a) == "H"], start=1):
        at[f"HB{number}"] = places[hydrogen.index]
    along = places[lost.index] - at["CZ"]
    along /= np.linalg.norm(along)
    across = at["CE1"] - at["CE2"]
    across -= (across @ along) * along
    across /= np.linalg.norm(across)
    at["OH"] = at["CZ"] + 0.136 * along
    at["HH"] = at["OH"] + 0.096 * (np.sin(np.radians(19)) * along + np.cos(np.radians(19)) * across)
    field = app.ForceField("amber14/protein.ff14SB.xml", StringIO(CRESOL))
    modeller = app.Modeller(topology, places * unit.nanometer)
    modeller.delete([ligand])
    guest = app.Topology()
    residue = guest.addResidue("CRE", guest.addChain())
    order = [row.split('"')[1] for row in CRESOL.split("<Atom ")[1:]]
    atoms = {label: guest.addAtom(label, app.Element.getBySymbol(label[0]), residue) for label in order}
    for row in CRESOL.split("<Bond ")[1:]:
        guest.addBond(atoms[row.split('"')[1]], atoms[row.split('"')[3]])
    modeller.add(guest, np.array([at[label] for label in order]) * unit.nanometer)
    system = field.createSystem(modeller.topology, nonbondedMethod=app.CutoffNonPeriodic)
    return modeller.topology, system, np.array(modeller.positions.value_in_unit(unit.nanometer))


def salt_bridge():
    """Methylguanidinium and acetate in a droplet of water, held together by a wall at its surface."""
    import openmm
    from openmm import app, unit

    top, places, templates = app.Topology(), [], ""
    for name, (atoms, bonds, at) in BRIDGE.items():
        residue = top.addResidue(name, top.addChain())
        made = {label: top.addAtom(label, app.Element.getBySymbol(label[0]), residue) for label, *_ in atoms}
        pairs = [bond.split("-") for bond in bonds.split()]
        for one, two in pairs:
            top.addBond(made[one], made[two])
        places += at
        rows = "".join(f'<Atom name="{a}" type="{kind}" charge="{q}"/>' for a, kind, q in atoms)
        rows += "".join(f'<Bond atomName1="{one}" atomName2="{two}"/>' for one, two in pairs)
        templates += f'<Residue name="{name}">{rows}</Residue>'
    field = app.ForceField(
        "amber14/protein.ff14SB.xml",
        "amber14/tip3p.xml",
        StringIO(f"<ForceField><Residues>{templates}</Residues></ForceField>"),
    )
    modeller = app.Modeller(top, np.array(places) * unit.nanometer)
    modeller.addSolvent(field, boxSize=openmm.Vec3(*[2.2 * DROPLET] * 3) * unit.nanometer, neutralize=False)
    at = np.array(modeller.positions.value_in_unit(unit.nanometer))
    inside = [r for r in modeller.topology.residues() if r.name in BRIDGE]
    centre = np.mean([at[atom.index] for r in inside for atom in r.atoms()], axis=0)
    modeller.delete(
        [
            r
            for r in modeller.topology.residues()
            if np.linalg.norm(at[next(r.atoms()).index] - centre) > DROPLET and r.name not in BRIDGE
        ]
    )
    modeller.topology.setPeriodicBoxVectors(None)
    at = np.array(modeller.positions.value_in_unit(unit.nanometer))
    system = field.createSystem(modeller.topology, nonbondedMethod=app.NoCutoff)
    wall = openmm.CustomExternalForce("500*max(0, r-edge)^2; r=sqrt((x-x0)^2+(y-y0)^2+(z-z0)^2)")
    for key, value in zip(("edge", "x0", "y0", "z0"), (DROPLET, *centre), strict=True):
        wall.addGlobalParameter(key, float(value))
    for atom in modeller.topology.atoms():
        if atom.element.symbol != "H":
            wall.addParticle(atom.index, [])
    system.addForce(wall)
    return modeller.topology, system, at


def snapshots(name: str, frames: int, folder: Path):
    """System and positions (frames, atoms, 3) in bohr: half a ps apart after 1 ps, 1 fs steps."""
    import openmm
    from openmm import app, unit

    from drupe.embedding import MolecularSystem
    from drupe.units import nanometer

    topology, forces, places = complex_of(name)
    system = MolecularSystem.from_openmm(topology, forces, places)
    stored = folder / f"{name}-frames.npy"
    if stored.exists() and len(np.load(stored)) >= frames:
        return system, np.load(stored)[:frames]
    if name.endswith("-t4l"):
        springs = openmm.CustomExternalForce("k/2*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
        springs.addGlobalParameter("k", SPRING)
        for axis in ("x0", "y0", "z0"):
            springs.addPerParticleParameter(axis)
        for atom in topology.atoms():
            if atom.residue.name != QUANTUM[name].split()[1] and atom.element.symbol != "H":
                springs.addParticle(atom.index, places[atom.index].tolist())
        forces.addForce(springs)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.001)
    integrator.setRandomNumberSeed(11)
    platform = openmm.Platform.getPlatformByName("CPU")
    simulation = app.Simulation(topology, forces, integrator, platform, {"Threads": "1"})
    simulation.context.setPositions(places * unit.nanometer)
    simulation.minimizeEnergy(maxIterations=200)
    simulation.context.setVelocitiesToTemperature(300, 12)
    simulation.step(1000)
    found = []
    for _ in range(frames):
        state = simulation.context.getState(positions=True)
        found.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer) * nanometer)
        simulation.step(500)
    np.save(stored, np.array(found))
    return system, np.array(found)


def grown_cores(system, region, largest: int):
    """Rows of every core from each functional group to ``largest`` heavy atoms, and of the whole ligand."""
    from drupe.embedding.level import Level
    from drupe.embedding.regions.boundary import quantum_region
    from drupe.embedding.suggestions.groups import find_groups
    from drupe.embedding.suggestions.ranking import growth_ladders

    place = quantum_region(system, region, Level("PBE", "STO-3G"))
    where = np.full(system.n_atoms, -1)
    where[region.qm] = np.arange(len(region.qm))
    bonds = where[system.bonds]
    groups = find_groups(place.numbers, place.positions, bonds[(bonds >= 0).all(axis=1)], region.charge)
    seeds = [number for number, group in enumerate(groups) if not group.is_skeleton]
    cores = growth_ladders(seeds, [group.neighbours for group in groups])
    rows = [np.sort(np.concatenate([groups[g].rows for g in core])) for core in cores]
    heavy = [np.count_nonzero(place.numbers[core] > 1) for core in rows]
    return [core for core, size in zip(rows, heavy, strict=True) if size <= largest or core is rows[-1]]


def brute_force(name: str, basis: str, system, frames, folder: Path) -> None:
    from drupe.embedding import Level, Partition
    from drupe.embedding.cores.core import correct_core, localize_core
    from drupe.embedding.meanfield.qmmm import run_dft
    from drupe.embedding.regions.boundary import quantum_region

    first = system.with_positions(frames[0])
    region = Partition.select(first, qm=QUANTUM[name], charge=0)
    level = Level("PBE", basis, core=METHOD[name], frozen_core=True, virtual_shells=None, grid=GRID)
    cores = grown_cores(first, region, LARGEST[name])
    counts = [None] * len(cores)
    for number, positions in enumerate(frames):
        stored = folder / f"{name}-{basis}-{number}.json"
        if stored.exists():
            counts = [row["n_occupied"] for row in json.loads(stored.read_text())["cores"]]
            continue
        started = time.perf_counter()
        place = quantum_region(system.with_positions(positions), region, level)
        field = run_dft(place.numbers, place.positions, 0, 1, place.points, place.charges, level)
        rows = []
        for core, count in zip(cores, counts, strict=True):
            begun = time.perf_counter()
            orbitals = localize_core(field, core, count)
            found = correct_core(field, core, orbitals, level)
            seconds = time.perf_counter() - begun
            cheap = correct_core(field, core, orbitals, dataclasses.replace(level, core="MP2"))
            rows.append(
                {
                    "atoms": region.qm[core].tolist(),
                    "heavy": int(np.count_nonzero(place.numbers[core] > 1)),
                    "n_occupied": found.n_occupied,
                    "gap": found.spade_gap,
                    "correction": found.correction,
                    "mp2": cheap.correction,
                    "seconds": seconds,
                }
            )
        counts = [row["n_occupied"] for row in rows]
        answer = {"cores": rows, "energy": field.energy, "seconds": time.perf_counter() - started}
        stored.write_text(json.dumps(answer))
        print(name, number, f"{answer['seconds']:.0f} s", flush=True)


def compare(name: str, basis: str, system, frames, folder: Path) -> dict[str, object]:
    """Ranking of the estimate beside that of brute force; the whole ligand is not counted."""
    from scipy.stats import kendalltau

    from drupe.embedding import Level, Partition
    from drupe.embedding.suggestions.ranking import rank, relative_spread, spread_error
    from drupe.units import kcal_per_mol

    files = [folder / f"{name}-{basis}-{number}.json" for number in range(len(frames))]
    done = [json.loads(file.read_text())["cores"] for file in files]
    table = np.array([[row["correction"] for row in rows] for rows in done]) / kcal_per_mol
    started = time.perf_counter()
    found = Partition.suggest(
        system,
        qm=QUANTUM[name],
        charge=0,
        snapshots=list(frames),
        level=Level("PBE", basis, core=METHOD[name], grid=GRID),
        largest_core=LARGEST[name],
    )
    seconds = time.perf_counter() - started
    second_order = np.array([[row["mp2"] for row in rows] for rows in done]) / kcal_per_mol
    place = {tuple(row["atoms"]): number for number, row in enumerate(done[0])}
    whole = max(range(len(done[0])), key=lambda number: done[0][number]["heavy"])
    rows = []
    for core in found.candidates:
        number = place[tuple(core.atoms.tolist())]
        off = table[:, whole] - table[:, number]
        rows.append(
            {
                "name": core.name,
                "heavy": done[0][number]["heavy"],
                "n_occupied": core.n_occupied,
                "spade_gap": core.spade_gap,
                "missing_estimate": core.missing / kcal_per_mol,
                "growth_estimate": None if core.growth is None else core.growth / kcal_per_mol,
                "missing": relative_spread(off),
                "missing_mp2": relative_spread(second_order[:, whole] - second_order[:, number]),
                "worst": float(np.abs(off - off.mean()).max()),
                "seconds": float(np.mean([frame[number]["seconds"] for frame in done])),
                "is_whole": number == whole,
            }
        )
    parts = [row for row in rows if not row["is_whole"]]
    estimate, truth = [r["missing_estimate"] for r in parts], [r["missing"] for r in parts]
    sizes = [row["n_occupied"] for row in parts]
    limit = found.tolerance / kcal_per_mol

    def order(values):
        return np.argsort(rank(values, [spread_error(value, len(frames)) for value in values], sizes, limit))

    return {
        "basis": basis,
        "method": METHOD[name],
        "frames": len(frames),
        "tau": float(kendalltau(estimate, truth).statistic),
        "tau_mp2": float(kendalltau([row["missing_mp2"] for row in parts], truth).statistic),
        "tau_of_order": float(kendalltau(order(estimate), order(truth)).statistic),
        "tau_of_size": float(kendalltau([-size for size in sizes], truth).statistic),
        "picked": rows[0]["name"],
        "picked_misses": rows[0]["missing"],
        "picked_worst_frame": rows[0]["worst"],
        "error_of_mp2": relative_spread((second_order - table)[:, whole]),
        "uncorrected": relative_spread(table[:, whole]),
        "uncorrected_estimate": found.uncorrected / kcal_per_mol,
        "seconds_estimate": seconds,
        "seconds_brute_force": float(sum(row["seconds"] for frame in done for row in frame)),
        "refused": found.refused,
        "cores": rows,
    }


def truncation() -> dict[str, dict[str, float]]:
    """Error of cheap methods against CCSD(T) on acrolein, a molecule that is not in the study (kcal/mol).

    Five geometries with random displacements of 0.045 angstrom; 1s frozen; rms difference between two.
    """
    from pyscf import gto, lib, scf
    from rdkit import Chem
    from rdkit.Chem import AllChem

    from drupe.embedding.solvers.hamiltonian import EmbeddedHamiltonian, solve
    from drupe.embedding.suggestions.ranking import relative_spread
    from drupe.units import kcal_per_mol

    mol = Chem.AddHs(Chem.MolFromSmiles("C=CC=O"))
    AllChem.EmbedMolecule(mol, randomSeed=2)
    AllChem.MMFFOptimizeMolecule(mol)
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    places, random = mol.GetConformer().GetPositions(), np.random.default_rng(1)
    moved = [places + random.normal(scale=0.045, size=places.shape) for _ in range(5)]
    methods = ["MP2", "FNO-CCSD", "CCSD", "FNO-CCSD(T)", "CCSD(T)"]
    answer = {}
    for basis in ("6-31G", "def2-SVP"):
        energies = []
        for frame in moved:
            atoms = list(zip(symbols, frame, strict=True))
            field = scf.RHF(gto.M(atom=atoms, basis=basis, verbose=0))
            field = field.density_fit(auxbasis="def2-universal-jkfit").run()
            tensor, c = lib.unpack_tril(np.vstack(list(field.with_df.loop()))), field.mo_coeff
            hamiltonian = EmbeddedHamiltonian(
                c.T @ field.get_hcore() @ c, np.matmul(c.T, tensor) @ c, field.mol.nelectron
            )
            energies.append([solve(hamiltonian, name, n_frozen=4).energy for name in methods])
        off = (np.array(energies) - np.array(energies)[:, -1:]) / kcal_per_mol
        answer[basis] = {name: relative_spread(off[:, n]) for n, name in enumerate(methods[:-1])}
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("core-selection-work"))
    parser.add_argument("--only", choices=list(LARGEST), nargs="*", default=list(LARGEST))
    parser.add_argument("--basis", default="6-31G")
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--truncation", action="store_true", help="test the estimate on acrolein instead")
    options = parser.parse_args()
    if options.truncation:
        print(json.dumps(truncation(), indent=1))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    answer = {}
    for name in options.only:
        system, frames = snapshots(name, options.frames, options.folder)
        brute_force(name, options.basis, system, frames, options.folder)
        answer[name] = compare(name, options.basis, system, frames, options.folder)
        stored = options.folder / f"{name}-{options.basis}.json"
        stored.write_text(json.dumps(answer[name], indent=1))
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
