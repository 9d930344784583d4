import importlib
import pkgutil

import drupe


def test_all_modules_live_in_one_process():
    """Records have names of their own: two modules that register one name cannot both be imported."""
    names = [found.name for found in pkgutil.walk_packages(drupe.__path__, "drupe.")]
    assert len(names) > 150
    for name in names:
        importlib.import_module(name)
