"""Absolute binding along alchemical states: restraints, decoupling, exchange, and a leg judged."""
