"""Sphinx settings: MyST pages, numpy docstrings."""

import runpy
from pathlib import Path
from typing import Any

from drupe.version import __version__

project = "Drupe"
author = "The Drupe authors"
copyright = "The Drupe authors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated"]
napoleon_google_docstring = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
html_theme = "furo"
html_title = f"Drupe {__version__}"
html_extra_path = ["_generated"]


def _draw_regions() -> None:
    """Make the 3D figure of the tutorial with the tutorial's own script."""
    here = Path(__file__).parent
    script = runpy.run_path(str(here.parent / "examples" / "regions" / "met102.py"))
    folder = here / "_generated"
    folder.mkdir(exist_ok=True)
    script["view"](*script["regions"]()).write_html(folder / "regions-3d.html")


def setup(app: Any) -> None:
    """Connect what is generated."""
    app.connect("config-inited", lambda _app, _config: _draw_regions())
