"""What the report shows of a torsion refit: results of its tasks in, works (kT) and text (kcal/mol) out."""

from typing import Any, Protocol

from drupe.freeenergy.outcomes.campaign import SwitchingResult
from drupe.mlp.torsion_refit import TorsionRefit
from drupe.units import angstrom, kcal_per_mol

__all__ = ["in_words", "torsion_works"]


class _Results(Protocol):
    """Results by task name."""

    def __contains__(self, name: str, /) -> bool: ...

    def __getitem__(self, name: str, /) -> Any: ...


def torsion_works(results: _Results) -> list[SwitchingResult]:
    """Works of MM -> torsion refit in the legs that have them."""
    made = []
    for leg in ("complex", "solvent"):
        if f"{leg}/torsion-works" in results:
            works = results[f"{leg}/torsion-works"]
            how = f"instantaneous, {len(works.forward)} and {len(works.reverse)} frames"
            made.append(
                SwitchingResult(
                    leg,
                    "torsions",
                    works.forward,
                    works.reverse,
                    how,
                    works.members,
                    run_f=works.run_forward,
                    run_r=works.run_reverse,
                    time_f=works.time_forward,
                    time_r=works.time_reverse,
                )
            )
    return made


def in_words(refit: TorsionRefit) -> dict[str, str]:
    """Name and text of each kind of torsion, and of the noise."""
    said = {}
    for kind, constants, errors in zip(refit.kinds, refit.constants, refit.errors, strict=True):
        pairs = zip(constants / kcal_per_mol, errors / kcal_per_mol, strict=True)
        each = ", ".join(f"k{n} {k:+.2f} ± {error:.2f}" for n, (k, error) in enumerate(pairs, start=1))
        said[f"refitted torsion {kind}"] = f"{each} kcal/mol"
    force = kcal_per_mol / angstrom
    said["left over by the torsion refit"] = (
        f"{refit.noise_energy / kcal_per_mol:.2f} kcal/mol in {refit.n_energies} energies; "
        f"{refit.noise_turn / force:.2f} kcal/mol/Å in forces that turn bonds and "
        f"{refit.noise_force / force:.2f} in all others, {refit.n_forces} labels"
    )
    return said
