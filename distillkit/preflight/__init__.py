"""Checks of a run before its hours are spent; each is a function from a subject to findings."""
