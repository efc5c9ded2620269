"""Estimators of a divergence, and their comparison on a batch."""
