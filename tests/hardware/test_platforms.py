import openmm
import pytest
import torch

from drupe.errors import MachineError
from drupe.hardware.platforms import openmm_platform, torch_device


def test_auto_takes_a_platform_that_computes():
    platform, properties = openmm_platform("auto", threads=1)
    system = openmm.System()
    system.addParticle(1.0)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, properties)
    context.setPositions([(0, 0, 0)])
    assert context.getState(energy=True).getPotentialEnergy()._value == 0.0
    assert platform.getName() not in ("Reference", "OpenCL")


@pytest.mark.parametrize(("particles", "wanted"), [(18, "Reference"), (50, "Reference"), (51, "CPU")])
def test_a_small_molecule_runs_on_plain_loops_where_there_is_no_gpu(particles, wanted):
    found = openmm_platform("auto", particles=particles)[0].getName()
    assert found in (wanted, "CUDA", "HIP")
    assert openmm_platform("CPU", particles=particles)[0].getName() == "CPU"


def test_a_platform_that_is_missing_is_an_error_that_lists_those_present():
    with pytest.raises(MachineError, match=r"'Abacus' is not available \(present: .*CPU"):
        openmm_platform("Abacus")


def test_cuda_asked_for_by_name_never_falls_back():
    if torch.cuda.is_available():
        assert torch_device("cuda").type == "cuda"
    else:
        with pytest.raises(MachineError, match="sees no CUDA"):
            torch_device("cuda")
    assert torch_device("auto").type in ("cuda", "cpu")
