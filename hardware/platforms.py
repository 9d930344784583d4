"""Which device computes: OpenMM platform and torch device, chosen at run time and said aloud."""

from typing import TYPE_CHECKING

from drupe.errors import MachineError

if TYPE_CHECKING:
    import openmm
    import torch

__all__ = ["openmm_platform", "torch_device"]

_FASTEST_FIRST = ("CUDA", "HIP", "OpenCL", "CPU", "Reference")
#: Without a GPU, the plain loops of Reference beat the CPU platform, which hands every force to a thread, by
#: 1.02 to 60 times for 18 to 22 atoms, and lose for 156 (benchmarks/README.md).
_SMALL = 50  # particles


def openmm_platform(
    name: str = "auto", threads: int | None = None, particles: int | None = None
) -> "tuple[openmm.Platform, dict[str, str]]":
    """Pick an OpenMM platform and the properties to build a context with.

    Parameters
    ----------
    name
        ``"auto"`` for the fastest that is a real device, or the name of one platform. Without a GPU that is
        the Reference platform for a molecule of a few tens of atoms. All its contexts in a process share
        one stream of noise, which a new context starts anew.
    threads
        Threads of the CPU platform; ``None`` leaves the choice to OpenMM.
    particles
        Of the system that it is for, if known.

    Raises
    ------
    MachineError
        If a platform asked for by name is not there: there is no silent fall-back.
    """
    import openmm

    present = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if name == "auto":
        # OpenCL on a machine without a GPU runs on the processor, slower than the CPU platform.
        name = next(p for p in _FASTEST_FIRST if p in present and p != "OpenCL")
        if name == "CPU" and particles is not None and particles <= _SMALL:
            name = "Reference"
    if name not in present:
        raise MachineError(
            f"the OpenMM platform {name!r} is not available (present: {', '.join(present)})",
            remedy='install the matching OpenMM plug-in, or ask for platform = "auto"',
        )
    properties = {"Threads": str(threads)} if name == "CPU" and threads else {}
    return openmm.Platform.getPlatformByName(name), properties


def torch_device(name: str = "auto") -> "torch.device":
    """Pick a torch device; ``"auto"`` takes CUDA where it is, else the CPU.

    Raises
    ------
    MachineError
        If CUDA is asked for by name and is not there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise MachineError(
            f"device {name!r} was asked for, but torch {torch.__version__} sees no CUDA device",
            remedy='install a CUDA build of torch, or ask for device = "auto"',
        )
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, TypeError, AssertionError) as error:
        raise MachineError(
            f"torch {torch.__version__} has no device {name!r} here ({str(error).splitlines()[0]})",
            remedy='ask for "cpu", "cuda", or "auto" for CUDA where it is',
        ) from error
