"""Supports: the vocabulary entries on which two models are compared."""
