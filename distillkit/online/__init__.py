"""Distillation while serving: requests, what is kept of them, and drafts that learn from it."""
