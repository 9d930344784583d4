"""Which cores to take: functional groups ranked by what they miss (atomic units)."""
