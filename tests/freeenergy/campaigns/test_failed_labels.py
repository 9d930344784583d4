"""A snapshot whose SCF or CC does not converge is a recorded failure, never a label, and the run goes on."""

import json

import numpy as np
import openmm
import pytest
from openmm import app

from drupe.embedding import Level, Partition
from drupe.embedding.structures.structure import Structure
from drupe.embedding.system import MolecularSystem
from drupe.freeenergy.campaigns.preparation import Leg, Prepared
from drupe.freeenergy.campaigns.stages import LabelStage, Snapshots
from drupe.freeenergy.tasks.runner import Node, read_result, run_graph
from drupe.hardware.engine import LocalEngine
from drupe.store import Store
from drupe.units import angstrom

WATERS = angstrom * np.array(
    [
        [0.0, 0.0, 0.117], [0.0, 0.757, -0.469], [0.0, -0.757, -0.469],
        [2.9, 0.2, 0.1], [3.4, 0.9, -0.3], [3.5, -0.5, 0.3],
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def prepared():
    """Two waters: the first is the QM region, its OH the core."""
    topology = app.Topology()
    chain = topology.addChain()
    for _ in range(2):
        residue = topology.addResidue("HOH", chain)
        oxygen, *hydrogens = [
            topology.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in ("O", "H1", "H2")
        ]
        for hydrogen in hydrogens:
            topology.addBond(oxygen, hydrogen)
    forces = app.ForceField("tip3p.xml").createSystem(topology, constraints=None, rigidWater=False)
    system = MolecularSystem(
        numbers=[8, 1, 1] * 2,
        positions=WATERS,
        charges=[-0.834, 0.417, 0.417] * 2,
        bonds=[[0, 1], [0, 2], [3, 4], [3, 5]],
        box=None,
        atom_names=("O", "H1", "H2") * 2,
        residue_names=("HOH",) * 6,
        residue_ids=[0] * 3 + [1] * 3,
        chain_ids=[0] * 6,
    )
    regions = Partition.select(system, qm=[0, 1, 2], charge=0, multiplicity=1, cores=[[0, 1]])
    leg = Leg(Structure(system, openmm.XmlSerializer.serialize(forces), None), regions, [0, 1, 2])
    return Prepared(leg, leg)


def test_unconverged_snapshots_are_failures_and_the_others_become_labels(tmp_path, prepared):
    stretched = WATERS.copy()
    stretched[2] *= 4.0
    snapshots = Snapshots(np.array([WATERS, WATERS * 1.01, stretched]), [0, 1, 2], 3, 0)
    good = Level(functional="PBE", basis="6-31G", core="CCSD(T)", virtual_shells=1)
    no_scf = Level(functional="PBE", basis="6-31G", core="CCSD(T)", virtual_shells=1, max_cycles=2)
    no_cc = Level(functional="PBE", basis="6-31G", core="CCSD(T)", virtual_shells=1, cc_tolerance=1e-300)

    def node(name, index, level):
        return Node(
            name,
            "labels",
            "drupe.freeenergy.campaigns.stages:label_snapshot",
            LabelStage("complex", index, level, check=False),
            needs=("prepared", "snapshots", "reference"),
        )

    reference = Node(
        "reference",
        "labels",
        "drupe.freeenergy.campaigns.stages:label_reference",
        LabelStage("complex", 0, good, check=True),
        needs=("prepared",),
    )
    nodes = [reference, node("no scf", 2, no_scf), node("no cc", 1, no_cc), node("good", 1, good)]
    with Store(tmp_path) as store:
        engine = LocalEngine(store.scratch, tmp_path / "logs", slots=1, threads=1)
        rows = run_graph(
            nodes, {"prepared": prepared, "snapshots": snapshots}, store, engine, Silent(), timeout_s=300
        )
        assert {name: row.state for name, row in rows.items()} == {
            "reference": "done",
            "no scf": "failed",
            "no cc": "failed",
            "good": "done",
        }
        for name, what in (("no scf", "SCF"), ("no cc", "CCSD")):
            said = json.loads(rows[name].error)
            assert said["error"] == "ConvergenceError"
            assert what in said["found"]
            assert said["remedy"]
        made = read_result(store, rows["good"])
        first = read_result(store, rows["reference"])
        assert made.label.cores[0].n_occupied == first.label.cores[0].n_occupied
        assert first.label.cores[0].dft_in_dft_error < 1e-8
        kept = store._db.execute("SELECT term, hartree FROM energies WHERE task = ?", (rows["good"].key,))
        assert dict(kept.fetchall()) == {"low": made.label.energy_low, "total": made.label.energy}
        count = store._db.execute("SELECT count(DISTINCT task) FROM energies").fetchone()
        assert count == (2,)


class Silent:
    def started(self, node):
        pass

    def ended(self, node, row, *, reused):
        pass
