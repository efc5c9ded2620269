"""Opinions: what a teacher thinks at every position of a text, and who can be asked for it."""
