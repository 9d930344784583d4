"""Quantum cores: a mean field and the atoms of cores in, corrections of its energy out (hartree)."""
