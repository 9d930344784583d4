"""What input files have in common: TOML, models, quantities with units."""
