"""Quantum cores: partitions, projectors, virtual spaces, solvers (atomic units)."""
