"""Energy of an `Ani2x` baseline: positions (bohr) in, energies (hartree) out, differentiable."""

import pickle
import warnings

import torch
from torch import Tensor

from drupe.errors import InputError
from drupe.mlp.ani2x import Ani2x
from drupe.mlp.quiet_torchani import Assembler
from drupe.units import angstrom

__all__ = ["Ani2xEnergy", "untrained_ani2x"]


class Ani2xEnergy:
    """Mean energy of the eight ANI-2x networks for a batch of frames, in double precision.

    No torch module on purpose: its weights are neither fitted nor stored with a potential.

    Raises
    ------
    InputError
        If the weights are missing, damaged or not those of the baseline.
    """

    static = False

    def __init__(self, baseline: Ani2x) -> None:
        path = baseline.file()
        model = untrained_ani2x()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # torch remarks on files that are not its own
                model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, UserWarning) as error:
            told = f"{type(error).__name__} {error}".splitlines()[0]
            raise InputError(
                f"{path} does not hold the weights of ANI-2x ({told})",
                remedy="the file is damaged or another model's: fetch it again",
            ) from error
        self.model = model.double().requires_grad_(False)
        self.numbers = torch.tensor(baseline.numbers)

    def __call__(self, positions: Tensor) -> Tensor:
        """Energies of frames.

        Parameters
        ----------
        positions
            Shape ``(frames, atoms, 3)``, bohr, float64.

        Returns
        -------
        Tensor
            Shape ``(frames,)``, hartree, self energies of the atoms included.
        """
        species = self.numbers.repeat(len(positions), 1)
        energy: Tensor = self.model((species, positions / angstrom)).energies
        return energy


def untrained_ani2x() -> torch.nn.Module:
    """Networks of the shape of ANI-2x with random weights; TorchANI's recipe without its download."""
    assembler = Assembler(symbols=("H", "C", "N", "O", "S", "F", "Cl"))
    assembler.set_global_cutoff_fn("cosine")
    assembler.set_aev_computer(radial="ani2x", angular="ani2x")
    assembler.set_atomic_networks(ctor="ani2x")
    assembler.set_gsaes_as_self_energies("wb97x-631gd")
    model: torch.nn.Module = assembler.assemble(8)
    return model
