"""``distillkit cache``: a teacher's opinions, made once and shown."""
