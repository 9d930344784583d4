"""From files of other programs to atoms with their force field, and back (bohr, e)."""
