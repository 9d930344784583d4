"""Time of a label against the size of the QM region and of its core: prints one JSON object.

Regions grow from acetate to the salt bridge of benzamidinium and acetate with two waters (31 atoms, 290
basis functions in def2-SVP), in 3,000 point charges of a water-like shell, each beside plain PySCF's DFT/MM
energy and gradients. Exponents are least-squares slopes of log(seconds) against log(basis functions), and
against log(orbitals of the core).

    python benchmarks/scaling.py [--threads 2] [--quick]
"""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version

import numpy as np


def molecule(smiles: str, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and force-field minimised positions in angstrom."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=seed)
    AllChem.UFFOptimizeMolecule(mol)
    return (
        np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()]),
        np.array(mol.GetConformer().GetPositions()),
    )


def along_x(points: np.ndarray, root: int, head: int) -> np.ndarray:
    """Put ``head`` at the origin, root -> head along +x, and the group in the xy plane."""
    moved = points - points[head]
    x = -moved[root] / np.linalg.norm(moved[root])
    _, _, frame = np.linalg.svd(moved[:4] - moved[:4].mean(axis=0))
    z = frame[2] - (frame[2] @ x) * x
    z /= np.linalg.norm(z)
    return moved @ np.array([x, np.cross(z, x), z]).T


def salt_bridge() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Benzamidinium, acetate facing it, and two waters beside the bridge; angstrom."""
    numbers, points = molecule("NC(=[NH2+])c1ccccc1")
    amidine = along_x(points, root=3, head=1)
    acid_numbers, acid = molecule("CC(=O)[O-]")
    acetate = -along_x(acid, root=0, head=1) * [1, 1, -1] + [4.25, 0, 0]
    water_numbers, water = molecule("O")
    water = water - water[0]
    return {
        "benzamidinium": (numbers, amidine),
        "acetate": (acid_numbers, acetate),
        "water 1": (water_numbers, water + np.array([2.2, 4.7, 0.6])),
        "water 2": (water_numbers, -water + np.array([2.2, -4.7, -0.6])),
    }


def surroundings(points: np.ndarray, count: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Charges of ``count`` / 3 rigid waters on a grid at 3.5 angstrom or more from ``points``."""
    random = np.random.default_rng(seed)
    grid = 3.1 * (np.stack(np.meshgrid(*[np.arange(-8, 9)] * 3), -1).reshape(-1, 3))
    apart = np.linalg.norm(grid[:, None] - points[None], axis=2).min(axis=1)
    centres = grid[np.argsort(np.where(apart > 3.5, apart, np.inf))][: count // 3]
    shape = np.array([[0, 0, 0], [0.757, 0.586, 0], [-0.757, 0.586, 0]])
    turns = np.linalg.qr(random.normal(size=(len(centres), 3, 3)))[0]
    sites = centres[:, None] + np.einsum("nij,aj->nai", turns, shape)
    return sites.reshape(-1, 3), np.tile([-0.834, 0.417, 0.417], len(centres))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--charges", type=int, default=3000)
    parser.add_argument("--quick", action="store_true", help="two small regions only")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    from peers import pyscf_dft

    from drupe.embedding import Level, MolecularSystem, Partition, label
    from drupe.units import angstrom

    parts = salt_bridge()
    bridge = np.vstack([points for _, points in parts.values()])
    charge_of = {"benzamidinium": 1, "acetate": -1}
    carboxylate = [1, 2, 3]
    sizes = [
        ("acetate", ["acetate"], carboxylate),
        ("acetate, 2 waters", ["acetate", "water 1", "water 2"], carboxylate),
        ("benzamidinium, 2 waters", ["benzamidinium", "water 1", "water 2"], None),
        ("benzamidinium, acetate", ["acetate", "benzamidinium"], carboxylate),
        ("benzamidinium, acetate, 2 waters", ["acetate", "benzamidinium", "water 1", "water 2"], carboxylate),
    ]
    whole_acetate = list(range(7))
    sizes.append(("benzamidinium, acetate, 2 waters", sizes[-1][1], whole_acetate))
    if options.quick:
        sizes = sizes[:2]
    sites, charges = surroundings(bridge, options.charges)
    rows = []
    for name, members, core in sizes:
        numbers = np.concatenate([parts[m][0] for m in members])
        points = np.vstack([parts[m][1] for m in members])
        atoms = core or list(range(len(numbers) - 6, len(numbers) - 3))
        system = MolecularSystem.from_atoms(
            np.concatenate([numbers, np.zeros(len(charges), int)]),
            angstrom * np.vstack([points, sites]),
            np.concatenate([np.zeros(len(numbers)), charges]),
        )
        regions = Partition.select(
            system,
            qm=list(range(len(numbers))),
            charge=sum(charge_of.get(m, 0) for m in members),
            cores=[atoms],
        )
        level = Level("PBE", "def2-SVP", core="CCSD(T)")
        result = label(system, regions, level)
        energy, *_, theirs = pyscf_dft(system, regions, level)
        found = result.cores[0]
        rows.append(
            {
                "region": name,
                "atoms": len(numbers),
                "core_atoms": len(atoms),
                "n_ao": int(result.diagnostics["n_basis"]),
                "core_occupied": found.n_occupied,
                "core_virtual": found.n_virtual,
                **{k: round(result.diagnostics[f"seconds_{k}"], 2) for k in ("scf", "forces", "cores")},
                "seconds": round(result.seconds, 2),
                "pyscf_dft": {k: round(v, 2) for k, v in theirs.items()},
                "difference_to_pyscf_hartree": result.energy_low - energy,
            }
        )
        print(f"{name}: {result.seconds:.0f} s", file=sys.stderr, flush=True)
    print(
        json.dumps(
            {
                "benchmark": "scaling",
                "threads": options.threads,
                "charges": len(charges),
                "machine": platform.processor() or platform.machine(),
                "versions": {name: version(name) for name in ("drupe", "pyscf", "numpy")},
                "rows": rows,
                "exponents": {
                    "scf against basis functions": slope(rows, "n_ao", "scf"),
                    "forces against basis functions": slope(rows, "n_ao", "forces"),
                    "cores against core orbitals": slope(
                        [{**r, "orbitals": r["core_occupied"] + r["core_virtual"]} for r in rows],
                        "orbitals",
                        "cores",
                    ),
                },
            },
            indent=1,
        )
    )


def slope(rows: list[dict], x: str, y: str) -> float:
    """Least-squares exponent of y against x."""
    return round(float(np.polyfit(np.log([r[x] for r in rows]), np.log([r[y] for r in rows]), 1)[0]), 2)


if __name__ == "__main__":
    main()
