"""Placements: one process alone, and several that share an update."""
