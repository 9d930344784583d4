"""A backbone and a readout for one periodic cell: positions in, energy and forces out (bohr, hartree).

No charges, no surroundings: the field at the atoms is zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from drupe.errors import InputError
from drupe.files import write_whole
from drupe.mlp.backbones.registry import NetworkSize, build
from drupe.mlp.backbones.settings import BackboneSettings
from drupe.mlp.readouts.registry import ReadoutSize, build_readout, matched
from drupe.mlp.readouts.settings import ReadoutSettings, VqcSettings
from drupe.mlp.readouts.shots import Measurement, measurement
from drupe.mlp.readouts.vqc import Vqc
from drupe.records import frozen, pack, register, unpack

__all__ = ["READOUTS", "CellHeader", "CellModel", "StoredCell", "load_model", "readout_of", "save_model"]

Array = NDArray[np.float64]

ENTANGLERS = ("none", "cx", "cz", "qft-cx", "qft-cz")
READOUTS = ("classical", "cosine", *(f"vqc-{name}" for name in ENTANGLERS))


def readout_of(name: str, features: int) -> tuple[str, ReadoutSettings]:
    """Kind and settings of a readout of the study; the controls have the circuits' number of parameters.

    Parameters
    ----------
    name
        One of `READOUTS`.
    features
        Width of what it reads.
    """
    if name.startswith("vqc-"):
        return "vqc", VqcSettings(qubits=8, layers=3, entangler=name.removeprefix("vqc-"))
    classical, cosine = matched(VqcSettings(), features)
    return name, {"classical": classical, "cosine": cosine}[name]


@register(version=2, upgrades={1: lambda fields: {**fields, "each_layer": False}})
@dataclass(frozen=True, eq=False)
class CellHeader:
    """All that fixes a model except its weights.

    ``numbers`` ``(atoms,)``; ``box`` ``(3, 3)`` bohr; ``backbone``, ``features``, ``layers``, ``radial``,
    ``settings`` the network, with its ``cutoff`` in bohr; ``readout``, ``readout_settings`` what makes
    energies of features; ``energy_zero`` hartree, of the cell; ``energy_scale`` hartree, what an output of
    one means; with ``each_layer`` every layer has a readout of its own, which only ``equivariant`` offers.
    """

    numbers: NDArray[np.int64]
    box: Array
    backbone: str
    features: int
    layers: int
    radial: int
    cutoff: float
    settings: BackboneSettings | None
    readout: str
    readout_settings: ReadoutSettings
    energy_zero: float
    energy_scale: float
    energy_bound: float = 1.0  # hartree; far above what an atom of a liquid has
    each_layer: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", frozen(self.numbers, np.int64))
        object.__setattr__(self, "box", frozen(self.box, np.float64))


@register(version=1)
@dataclass(frozen=True, eq=False)
class StoredCell:
    """A fitted model as plain arrays; ``held_out`` are the frames it did not see."""

    header: CellHeader
    weights: Mapping[str, Array]
    held_out: NDArray[np.int64]


class CellModel(nn.Module):
    """Energy of a cell as a sum over its atoms.

    Parameters
    ----------
    header
        What to build.
    seed
        Of the first weights; the backbone's are the same for all readouts.
    """

    def __init__(self, header: CellHeader, seed: int = 0) -> None:
        super().__init__()
        self.header = header
        kinds, species = np.unique(header.numbers, return_inverse=True)
        size = NetworkSize(
            species=torch.tensor(species, dtype=torch.int64),
            n_species=len(kinds),
            features=header.features,
            layers=header.layers,
            radial=header.radial,
            cutoff=header.cutoff,
            field_scale=1.0,
            members=1,
            box=torch.tensor(header.box),
        )
        read = ReadoutSize(header.features, 1, header.energy_scale, header.energy_bound)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = build(header.backbone, size, header.settings)
            count = header.layers if header.each_layer else 1
            readouts = [build_readout(header.readout, read, header.readout_settings) for _ in range(count)]
        if header.each_layer:
            if not hasattr(self.backbone, "scalars"):
                raise InputError(
                    f"the layers of {header.backbone!r} cannot be read one by one",
                    remedy="take the backbone 'equivariant', or each_layer=False",
                )
            del self.backbone.last  # puts layers together
        self.readout = nn.ModuleList(readouts) if header.each_layer else readouts[0]

    @property
    def parameter_counts(self) -> dict[str, int]:
        """Trained numbers of the backbone and of the readout."""
        return {
            name: sum(value.numel() for value in getattr(self, name).parameters())
            for name in ("backbone", "readout")
        }

    @property
    def readouts(self) -> list[nn.Module]:
        """The one, or those of the layers."""
        return list(self.readout) if self.header.each_layer else [self.readout]

    def features(self, positions: Tensor) -> list[Tensor]:
        """What each readout reads, ``(1, frames * atoms, features)``, at ``(frames, atoms, 3)`` bohr."""
        nothing = torch.zeros_like(positions)
        if self.header.each_layer:
            return self.backbone.scalars(positions, nothing)
        return [self.backbone(positions, nothing, nothing[..., :0])]

    def forward(self, positions: Tensor) -> Tensor:
        """Energies counted from the zero, ``(frames,)``, hartree."""
        pairs = zip(self.readouts, self.features(positions), strict=True)
        return sum(readout(rows).reshape(len(positions), -1).sum(1) for readout, rows in pairs)

    def with_forces(self, positions: Tensor, *, graph: bool = False) -> tuple[Tensor, Tensor]:
        """Energies and forces; with ``graph`` they can be differentiated with respect to the weights."""
        place = positions.detach().requires_grad_()
        energy = self(place)
        (slope,) = torch.autograd.grad(energy.sum(), place, create_graph=graph)
        return (energy, -slope) if graph else (energy.detach(), -slope)

    def measurements(self, positions: Array) -> list[Measurement]:
        """What measuring the circuits of each frame gives, energies from the zero; ``(frames, atoms, 3)``.

        Raises
        ------
        InputError
            If the readout is no circuit.
        """
        readouts = [one for one in self.readouts if isinstance(one, Vqc)]
        if not readouts:
            raise InputError("this model has no circuits to measure", remedy="fit one with --readout vqc-...")
        with torch.no_grad():
            together = measurement(readouts, self.features(torch.tensor(positions)), 0.0)
        frames = len(positions)

        def of_each(values: Array) -> Array:
            """From (readouts, frames, atoms, bit strings), as rows, to rows of each frame."""
            width = values.shape[-1]
            apart = values.reshape(len(readouts), frames, -1, width).swapaxes(0, 1)
            return apart.reshape(frames, -1, width)

        pairs = zip(of_each(together.probabilities), of_each(together.values), strict=True)
        return [Measurement(*pair, together.rest / frames) for pair in pairs]


def save_model(path: Path, model: CellModel, held_out: NDArray[np.int64]) -> None:
    """Write a model, whole or not at all."""
    weights = {
        name: frozen(value.detach().cpu().numpy(), np.float64) for name, value in model.state_dict().items()
    }
    write_whole(path, pack(StoredCell(model.header, weights, frozen(held_out, np.int64))))


def load_model(path: Path) -> tuple[CellModel, NDArray[np.int64]]:
    """Read a model in double precision, with the frames it did not see.

    Raises
    ------
    InputError
        If the file is no model.
    """
    stored = unpack(path.read_bytes())
    if not isinstance(stored, StoredCell):
        raise InputError(f"{path} holds no model of a cell", remedy="give a .model file that fit.py wrote")
    made = CellModel(stored.header)
    made.load_state_dict({name: torch.tensor(value) for name, value in stored.weights.items()})
    for readout in made.readouts:
        readout.hold()
    return made, stored.held_out
