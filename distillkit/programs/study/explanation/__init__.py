"""``distillkit study explanation``: on mixtures of Gaussians, and on language models."""
