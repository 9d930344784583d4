"""DFT of the QM region in the field of its surroundings (atomic units)."""
