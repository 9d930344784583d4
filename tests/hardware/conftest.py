import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """Let worker processes, and this one, import the module of test calls."""
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.syspath_prepend(here)
    yield
    sys.modules.pop("calls_in_worker", None)
