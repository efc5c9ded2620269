"""``distillkit eval``: a finished run measured again."""
