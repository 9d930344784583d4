"""The accounts of a label: results of DFT and cores in; energy terms (hartree), diagnostics, caveats out."""

from collections.abc import Mapping, Sequence

from drupe.embedding.cores.core import CoreResult
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.embedding.regions.boundary import QuantumRegion
from drupe.errors import ConvergenceError

__all__ = ["approximations", "diagnose", "energy_terms", "net_force"]

_SUSPECT_FORCE = 1e-3  # hartree/bohr; 1.2 kcal/mol/A
_REFUSED_FORCE = 2e-2
_CHARGE_ROUNDING = 1e-2  # e; charges of whole molecules miss a whole number by 2e-3 in shipped files


def energy_terms(low: Mapping[str, float], cores: Sequence[CoreResult]) -> dict[str, float]:
    """Named parts of the energy of a label; they add up to it.

    Parameters
    ----------
    low
        Parts of the DFT energy, hartree.
    cores
        Their corrections. A correction is the embedded reference energy less the low-level energy of
        the core, plus the correlation in the kept virtual orbitals, plus MP2 for the others.
    """
    terms = dict(low)
    for number, core in enumerate(cores, start=1):
        terms[f"core {number} reference"] = core.correction - core.e_corr - core.mp2_truncation
        terms[f"core {number} correlation"] = core.e_corr
        terms[f"core {number} virtual truncation"] = core.mp2_truncation
    return terms


def diagnose(field: MeanField, cores: Sequence[CoreResult], region: QuantumRegion) -> dict[str, float]:
    """Numbers that tell how far to trust a label.

    Parameters
    ----------
    field
        The converged DFT.
    cores
        Their corrections.
    region
        Link atoms and charge sites.
    """
    found = {
        "scf_iterations": float(field.iterations),
        "n_basis": float(len(field.overlap)),
        "spilled_electrons": field.spillage.electrons,
        "charge_change": region.charge_change,
    }
    if not field.is_closed_shell:
        found["spin_square"] = float(field.engine.spin_square()[0])
    if cores:
        found["spade_gap_min"] = min(core.spade_gap for core in cores)
        found["residual_overlap_max"] = max(core.residual_overlap for core in cores)
    singles = [core.t1 for core in cores if core.t1 is not None]
    if singles:
        found["t1_max"] = max(singles)
    opened = [core.spin_square for core in cores if core.spin_square is not None]
    if opened:
        found["core_spin_square_max"] = max(opened)
    return found


def approximations(level: Level, cores: Sequence[CoreResult], region: QuantumRegion) -> tuple[str, ...]:
    """What the numbers of a label leave out or treat more simply than its level's name says.

    Parameters
    ----------
    level
        Level asked for.
    cores
        Corrections computed.
    region
        Link atoms and charge sites.
    """
    found = []
    if cores and level.forces == "low":
        found.append("forces: of the DFT/MM energy, without the core corrections")
    if cores and level.forces == "directional":
        found.append("forces: of the DFT/MM energy; exact slopes along random directions only")
    if cores and level.forces == "mp2" and level.core != "MP2":
        found.append(f"forces: MP2 in all virtual orbitals in place of {level.core}")
    for number, core in enumerate(cores, start=1):
        if core.n_virtual != core.n_virtual_full and core.method != "HF":
            rest = f"by MP2 ({core.mp2_truncation:+.6f} hartree)" if core.mp2_truncation else "left out"
            kept = f"{core.n_virtual} of {core.n_virtual_full} kept"
            found.append(f"virtuals of core {number}: {kept}, the others {rest}")
        if core.n_frozen:
            found.append(f"correlation of core {number}: without {core.n_frozen} chemical core orbital(s)")
        found += [f"core {number}: {said}" for said in (*core.approximations, *core.warnings)]
    if region.n_links:
        found.append(f"boundary: {region.n_links} link atom(s), charges of the MM hosts by {level.boundary}")
        found.extend(region.caveats)
    if abs(region.charge_change) > _CHARGE_ROUNDING:
        found.append(
            f"charge: QM region and MM charges sum to {region.charge_change:+.4f} e above the force field"
        )
    return tuple(found)


def net_force(size: float, level: Level) -> tuple[str, ...]:
    """What the sum of all forces says of them: it is zero but for the grid, which moves with the atoms.

    Parameters
    ----------
    size
        Norm of the sum over QM atoms, link atoms and charges, hartree/bohr.
    level
        Level of the label.

    Raises
    ------
    ConvergenceError
        If the sum is as large as a chemical force.
    """
    if size > _REFUSED_FORCE:
        raise ConvergenceError(
            f"the forces of {level.name} add up to {size:.3f} hartree/bohr instead of 0: the grid is too "
            "coarse for this functional",
            remedy=f"raise grid={level.grid} (up to 9), or take a functional that needs less, such as PBE",
        )
    if size > _SUSPECT_FORCE:
        return (f"forces: they add up to {size:.1e} hartree/bohr instead of 0, by the integration grid",)
    return ()
