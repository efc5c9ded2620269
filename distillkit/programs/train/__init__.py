"""``distillkit train``: from a composed run to a finished run directory."""
