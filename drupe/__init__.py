"""Drupe: a multiscale embedding engine for QM/QM/MM with learned potentials."""

from drupe.version import __version__

__all__ = ["__version__"]
