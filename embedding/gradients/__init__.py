"""Forces of the core-corrected energy (hartree/bohr)."""
