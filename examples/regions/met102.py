"""A covalently cut residue as QM region: Met 102 of T4 lysozyme beside its ligand p-xylene.

    python examples/regions/met102.py [--label]

Writes regions.html, which shows the layers in 3D; with --label also computes the energy (two minutes).
"""

import argparse
from pathlib import Path

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.embedding.regions.view import view
from drupe.embedding.structures.structure import locate

files = "package:openmmtools/data/T4-lysozyme-L99A-implicit/"


def regions() -> tuple[MolecularSystem, Partition]:
    """Ligand and side chain are quantum; the bond between CA and CB of Met 102 is cut."""
    system = MolecularSystem.from_amber(
        locate(files + "complex.prmtop", Path()), locate(files + "complex-minimized.crd", Path())
    )
    side_chain = "(resSeq 102 and resname MET and sidechain)"
    partition = Partition.select(
        system,
        qm=f"resname TMP or {side_chain}",
        charge=0,
        cores=[
            "resname TMP and name C8 H8 H9 H10",
            "resSeq 102 and resname MET and name SD CE HE1 HE2 HE3",
        ],
    )
    return system, partition


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--label", action="store_true")
    system, partition = regions()
    for quantum, classical in partition.links:
        print("cut:", system.describe(quantum), "|", system.describe(classical))
    view(system, partition).write_html("regions.html")
    print("regions.html")
    if parser.parse_args().label:
        result = label(system, partition, Level("PBE", "def2-SVP", core="CCSD(T)"))
        print(f"energy {result.energy:.6f} hartree, {result.seconds:.0f} s")
        for name, value in result.terms.items():
            print(f"  {name:40s} {value:18.9f}")
        for name, value in sorted(result.diagnostics.items()):
            print(f"  {name:40s} {value:18.6g}")
        for remark in result.approximations:
            print("  approximation:", remark)


if __name__ == "__main__":
    main()
