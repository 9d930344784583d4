"""Solvers of quantum cores: embedded Hamiltonians in, energies out (hartree)."""
