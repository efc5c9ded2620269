"""``distillkit study``: published hypotheses tested again."""
