"""What a campaign's report says of how it was made: input and store in, names and texts out."""

import platform
from importlib import metadata
from typing import Final

from drupe.freeenergy.campaigns.config import Config
from drupe.store import Store

__all__ = ["settings_of", "versions"]

_PACKAGES: Final = (
    "drupe",
    "pyscf",
    "openmm",
    "openmmml",
    "openmmtools",
    "torch",
    "mdtraj",
    "pymbar",
    "rdkit",
    "numpy",
    "scipy",
)


def settings_of(config: Config, store: Store) -> dict[str, str]:
    """What was asked for, and what the runs took, by name."""
    level, water = config.level, config.water
    said = {"level": "molecular mechanics"}
    if config.corrected:
        said = {
            "level": f"{level.functional}/{level.basis}, core {level.core}, "
            f"virtual shells 0 to {level.virtual_shells}",
            "potential": f"{config.potential.backbone}, {config.potential.members} members, "
            f"{config.potential.embedding} embedding, network in {config.potential.precision} precision",
        }
    steps = f"{config.dynamics.step:g} fs MM"
    steps += f", {config.dynamics.ml_step:g} fs ML/MM" if config.corrected else ""
    said |= {
        "solvent": f"implicit, {config.system.implicit_solvent}"
        if water is None
        else f"boxes of water under PME at {water.pressure:g} bar",
        "temperature": f"{config.dynamics.temperature:g} K",
        "time step": f"{steps}, flexible bonds" + ("" if water is None else ", rigid water"),
        "hydrogen mass": f"{config.system.hydrogen_mass:g} amu",
        "seed": str(config.seed),
        "alchemical legs": f"{config.abfe.repeats} repeat{'s' if config.abfe.repeats > 1 else ''}, "
        + {
            "none": "windows by themselves",
            "gibbs": "replica exchange, Gibbs sampling of all states",
            "neighbours": "replica exchange between neighbours",
        }[config.abfe.exchange],
    }
    for name, unit, text in (
        ("wall_s", 1.0, "wall time, all runs together"),
        ("peak_mb", 1.0, "peak memory"),
    ):
        value = store.fact(name)
        if isinstance(value, int | float):
            said[text] = f"{value / 60:.1f} min" if name == "wall_s" else f"{value / unit / 1024:.2f} GB"
    return said


def versions() -> dict[str, str]:
    """Versions of everything behind the numbers."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {
        "python": platform.python_version(),
        **found,
        "machine": f"{platform.system()} {platform.machine()}",
    }
