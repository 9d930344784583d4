"""One thread for every engine, and no clock: the molecules are small, and machines are shared.

Tests of optional modules are skipped where these are not installed.
"""

import os
from importlib.util import find_spec

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

HOW = {
    "e3nn": "e3nn is not installed: pip install 'drupe[equivariant]'",
    "pyscf.lno": "pyscf-forge is not installed: pip install --no-deps 'pyscf-forge>=1.1.1' (docs/cores.md)",
}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip a test marked ``needs(module)`` where that optional module is not installed."""
    for mark in item.iter_markers("needs"):
        how = HOW[mark.args[0]]
        if find_spec(mark.args[0]) is None:
            pytest.skip(how)
