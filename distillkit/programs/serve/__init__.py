"""``distillkit serve``: a target answers over HTTP, and its draft learns between requests."""
