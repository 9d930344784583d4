"""Task bodies of the torsion refit: labels in; a refit, MM runs with it and works from MM to it (kT) out.

The refitted ligand is an MM molecule: what it adds to the energy depends on the ligand alone, and both ends
of its correction are sampled with MM dynamics. Instantaneous energy differences are the works.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.campaigns.preparation import Prepared
from drupe.freeenergy.campaigns.stages import LabelledSnapshot, SampleStage, Snapshots
from drupe.freeenergy.estimation.chain import uncorrelated
from drupe.mlp.torsion_refit import TorsionRefit, TorsionSpec
from drupe.records import frozen, register
from drupe.units import kt

if TYPE_CHECKING:
    from drupe.freeenergy.simulation.sampling import Trajectory

__all__ = ["RefitStage", "RefitWorks", "RefitWorksStage", "refit", "refit_works", "sample_refitted"]

_DRAWS = 50  # from the posterior: the standard deviation over them is known to a tenth


@register(version=1)
@dataclass(frozen=True, eq=False)
class RefitStage:
    """Settings of `refit`."""

    spec: TorsionSpec


@register(version=1)
@dataclass(frozen=True, eq=False)
class RefitWorksStage:
    """Settings of `refit_works`; the same ``seed`` in both legs draws the same constants."""

    leg: str
    temperature_k: float
    seed: int


def _same(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 did not keep the runs, version 2 not the times."""
    return fields


@register(version=3, upgrades={1: _same, 2: _same})
@dataclass(frozen=True, eq=False)
class RefitWorks:
    """Energy differences between the refitted ligand and the MM ligand in one leg, kT.

    ``forward (frames,)`` is u_refit - u_MM at MM frames that were not labelled, ``reverse`` is u_MM - u_refit
    at frames of the refit; ``members (draws, frames)`` is u of constants drawn from the posterior minus
    u_refit at the latter. ``run_forward`` and ``run_reverse`` say which run each frame is from,
    ``time_forward`` and ``time_reverse`` when in it, ps.
    """

    forward: NDArray[np.float64]
    reverse: NDArray[np.float64]
    members: NDArray[np.float64]
    run_forward: NDArray[np.int64] | None = None
    run_reverse: NDArray[np.int64] | None = None
    time_forward: NDArray[np.float64] | None = None
    time_reverse: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if (value := getattr(self, name)) is not None:
                kind = np.int64 if name.startswith("run") else np.float64
                object.__setattr__(self, name, frozen(value, kind))


def refit(settings: RefitStage, prepared: Prepared, *labels: LabelledSnapshot) -> TorsionRefit:
    """Refit the ligand's torsions to the DFT/MM energies and forces that the potential learns."""
    from drupe.mlp.baseline import LigandForceField
    from drupe.mlp.dataset import Dataset
    from drupe.mlp.torsions import refit_torsions

    alone = prepared.solvent
    terms = LigandForceField.from_structure(alone.structure, alone.ligand.tolist())
    return refit_torsions(
        [(Dataset.from_labels([one.label for one in labels], which="low"), terms)], settings.spec
    )


def sample_refitted(
    settings: SampleStage, prepared: Prepared, snapshots: Snapshots, found: TorsionRefit
) -> "Trajectory":
    """Sample a leg with the refitted ligand from an MM frame."""
    from drupe.freeenergy.campaigns.systems import mm_system
    from drupe.freeenergy.simulation.sampling import sample
    from drupe.mlp.torsion_system import refitted_system

    leg = prepared.leg(settings.leg)
    numbers = leg.structure.system.numbers[leg.ligand]
    start = settings.start % len(snapshots.positions)
    return sample(
        refitted_system(mm_system(leg), leg.ligand, numbers, found),
        snapshots.positions[start],
        settings.spec,
        box=snapshots.box(start),
        platform=settings.place.platform,
        threads=settings.place.threads,
    )


def refit_works(
    settings: RefitWorksStage,
    prepared: Prepared,
    snapshots: Snapshots,
    found: TorsionRefit,
    *runs: "Trajectory",
) -> RefitWorks:
    """Evaluate what the refit adds at frames of both ends of one leg; of its own runs decorrelated ones."""
    leg, thermal = prepared.leg(settings.leg), kt(settings.temperature_k)
    alone = prepared.solvent.structure.system.subset(prepared.solvent.ligand)

    def columns(frames: NDArray[np.float64]) -> NDArray[np.float64]:
        return found.design(alone.numbers, alone.bonds, frames[:, leg.ligand]).energy / thermal

    change = found.change.ravel()
    forward = columns(snapshots.positions[snapshots.labels :]) @ change
    at_refit, numbers, times = [], [], []
    for number, run in enumerate(runs):
        made = columns(run.positions)
        rise = made @ change
        apart = uncorrelated(np.array([rise, np.zeros_like(rise)]), 0)
        at_refit.append(made[apart])
        times.append(run.spec.frame_times_ps[apart])
        numbers.append(np.full(len(at_refit[-1]), number))
    kept = np.concatenate(at_refit)
    draws = found.draws(_DRAWS, settings.seed) - change
    return RefitWorks(
        forward,
        -(kept @ change),
        draws @ kept.T,
        run_forward=snapshots.run[snapshots.labels :],
        run_reverse=np.concatenate(numbers),
        time_forward=None if snapshots.time is None else snapshots.time[snapshots.labels :],
        time_reverse=np.concatenate(times),
    )
