"""Kernels of quantum cores: arrays in, arrays out, no library of chemistry (atomic units)."""
