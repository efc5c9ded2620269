"""Distillation as an entropy filter: precision bought with recall (arXiv:2505.13111)."""
