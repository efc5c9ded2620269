"""``distillkit osd``: a draft learns while it serves a stream of requests."""
