"""Doors to OpenMM dynamics: systems and starts in, trajectories out."""
