"""Torsion constants of MM molecules refitted to labels: data sets and force fields in, a `TorsionRefit` out.

A label minus sum q0 phi minus the molecule's MM energy, the quantity a network learns the difference of, is
explained by V = sum dk_n (1 + cos n phi) over kinds of torsions that molecules share, and a constant for each
molecule. Hartree and bohr. What bonds, angles and the field do to the electrons stays noise.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.dataset import Dataset
from drupe.mlp.evidence import Group, posterior
from drupe.mlp.torsion_design import torsion_design, turn_basis
from drupe.mlp.torsion_kinds import Torsions, torsions_of
from drupe.mlp.torsion_refit import TorsionRefit, TorsionSpec

__all__ = ["refit_torsions"]

_SAME_PHASE = 1e-6


def refit_torsions(
    molecules: Sequence[tuple[Dataset, LigandForceField]], spec: TorsionSpec | None = None
) -> TorsionRefit:
    """Fit the torsions of one or several molecules to their labels.

    Linear least squares with a Gaussian prior about the force field's constants (`drupe.mlp.evidence`). The
    data are of three kinds, each with a noise of its own: energies from their mean, the components of forces
    that turn bonds (`turn_basis`), and all others. Slopes and forces on MM atoms are not read: torsions add
    nothing to the latter.

    Parameters
    ----------
    molecules
        Labels of each molecule, and its MM terms.
    spec
        Settings; None for the defaults.

    Returns
    -------
    TorsionRefit
        Of all kinds of torsions that the molecules have.

    Raises
    ------
    InputError
        If a molecule has no bond that can be turned, labels are of different levels, a molecule is cut out of
        a larger one, or data set and force field are of different molecules.
    """
    spec = spec or TorsionSpec()
    _check(molecules)
    found = [torsions_of(d.numbers, f.bond_atoms, rotors=spec.rotors) for d, f in molecules]
    for number, one in enumerate(found):
        if not one.kinds:
            raise InputError(
                f"no bond of molecule {number} can be turned to another shape of the molecule: all are in "
                "rings, at the end, or lead to groups such as CH3",
                remedy="leave it out of the torsion refit; TorsionSpec(rotors=True) turns CH3 groups as well",
            )
    kinds = tuple(sorted({kind for one in found for kind in one.kinds}))
    parts = [_rows(d, f, one, kinds, spec) for (d, f), one in zip(molecules, found, strict=True)]
    groups = [_joined([part[name] for part in parts], spec.width) for name in _GROUPS]
    fitted = posterior(groups)
    shape = (len(kinds), spec.highest)
    return TorsionRefit(
        spec=spec,
        kinds=kinds,
        own=_own([f for _, f in molecules], found, kinds, spec.highest),
        change=(fitted.mean * spec.width).reshape(shape),
        covariance=fitted.covariance * spec.width**2,
        noise_energy=fitted.noise[0],
        noise_turn=fitted.noise[1],
        noise_force=fitted.noise[2],
        n_energies=sum(int(d.has_energy.sum()) for d, _ in molecules),
        n_forces=sum(int(d.has_forces_qm.sum()) for d, _ in molecules),
        level=molecules[0][0].level,
    )


_GROUPS = ("energy", "turn", "force")


def _check(molecules: Sequence[tuple[Dataset, LigandForceField]]) -> None:
    if len({d.level for d, _ in molecules}) != 1:
        raise InputError(
            f"labels are of the levels {sorted({d.level for d, _ in molecules})}",
            remedy="refit to labels of one level",
        )
    for dataset, force_field in molecules:
        if dataset.border is not None:
            raise InputError(
                f"the labels have {dataset.border.n_links} link atom(s): the torsions of a molecule that is "
                "cut out of a larger one are not refitted",
                remedy="take labels of whole molecules",
            )
        if len(dataset.numbers) != force_field.n_atoms:
            raise InputError(
                f"labels of {len(dataset.numbers)} atoms come with a force field of {force_field.n_atoms}",
                remedy="build it with LigandForceField.from_system and the atoms of the labels",
            )


def _rows(
    dataset: Dataset,
    force_field: LigandForceField,
    torsions: Torsions,
    kinds: Sequence[str],
    spec: TorsionSpec,
) -> dict[str, Group]:
    """Data of one molecule, columns in hartree: masked values are left out."""
    from drupe.mlp.training_set import prepare

    left = prepare(dataset, force_field, damping=1.0, reach=0.0)
    numbered = np.array([kinds.index(kind) for kind in torsions.kinds], np.int64)
    made = torsion_design(dataset.positions, torsions.atoms, numbered, len(kinds), spec.highest)
    with_energy, with_forces = np.flatnonzero(dataset.has_energy), np.flatnonzero(dataset.has_forces_qm)
    columns = made.energy[with_energy]
    energy = left.energy.numpy()[with_energy]
    if len(with_energy):  # the constant of each molecule has a flat prior: integrated over, the mean goes
        columns, energy = columns - columns.mean(0), energy - energy.mean()
    size, p = 3 * len(dataset.numbers), made.energy.shape[1]
    basis = turn_basis(dataset.positions[with_forces], torsions.axes, torsions.sides)
    pulls = made.forces[with_forces].reshape(len(with_forces), size, p)
    forces = left.forces.numpy()[with_forces].reshape(len(with_forces), size)
    turning = np.einsum("fxb,fxp->fbp", basis, pulls)
    turned = np.einsum("fxb,fx->fb", basis, forces)
    others = pulls - np.einsum("fxb,fbp->fxp", basis, turning)
    rest = forces - np.einsum("fxb,fb->fx", basis, turned)
    turns = basis.shape[2]
    return {
        "energy": Group(columns, energy, max(len(with_energy) - 1, 0)),
        "turn": Group(turning.reshape(-1, p), turned.ravel(), len(with_forces) * turns),
        "force": Group(others.reshape(-1, p), rest.ravel(), len(with_forces) * (size - turns)),
    }


def _joined(parts: Sequence[Group], width: float) -> Group:
    return Group(
        np.concatenate([part.design for part in parts]) * width,
        np.concatenate([part.target for part in parts]),
        sum(part.free for part in parts),
    )


def _own(
    force_fields: Sequence[LigandForceField],
    found: Sequence[Torsions],
    kinds: Sequence[str],
    highest: int,
) -> NDArray[np.float64]:
    """Constants of phase 0 and pi that the force fields have, as means over the torsions of each kind."""
    total, count = np.zeros((len(kinds), highest)), np.zeros(len(kinds))
    for force_field, torsions in zip(force_fields, found, strict=True):
        heights: dict[tuple[int, ...], NDArray[np.float64]] = {}
        rows = zip(force_field.torsion_atoms.tolist(), force_field.torsions.tolist(), strict=True)
        for atoms, (n, phase, k) in rows:
            name = min(tuple(atoms), tuple(atoms[::-1]))
            if n <= highest and abs(math.sin(phase)) < _SAME_PHASE:
                heights.setdefault(name, np.zeros(highest))[int(n) - 1] += k * math.copysign(
                    1.0, math.cos(phase)
                )
        for atoms, kind in zip(torsions.atoms.tolist(), torsions.kinds, strict=True):
            name = min(tuple(atoms), tuple(atoms[::-1]))
            total[kinds.index(kind)] += heights.get(name, 0.0)
            count[kinds.index(kind)] += 1
    return total / count[:, None]
