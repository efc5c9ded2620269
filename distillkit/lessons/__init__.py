"""Who writes lessons, and how they are asked: local models, served models, and rules."""
