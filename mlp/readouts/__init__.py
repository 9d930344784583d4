"""Readouts of a backbone's features: classical, cosine or a quantum circuit (hartree)."""
