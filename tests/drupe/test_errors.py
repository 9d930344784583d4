import pickle

import pytest

from drupe.errors import ConvergenceError, InputError, MachineError


@pytest.mark.parametrize("kind", [InputError, MachineError, ConvergenceError])
def test_errors_survive_pickling_with_fact_and_remedy(kind):
    error = pickle.loads(pickle.dumps(kind("no file", remedy="give one")))
    assert (type(error), error.found, error.remedy) == (kind, "no file", "give one")
    assert "no file" in str(error)
    assert "give one" in str(error)


def test_a_remedy_cannot_be_forgotten():
    with pytest.raises(TypeError):
        InputError("no file")
