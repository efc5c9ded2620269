"""``distillkit study fidelity run``: the paper's grid on one's own models."""
