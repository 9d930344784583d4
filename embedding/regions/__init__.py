"""Who is quantum, where the cuts are, and which charges act (bohr, e)."""
