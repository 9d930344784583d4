"""Non-equilibrium switching between two potentials: end states and starts in, works (kT) out."""
