"""``distillkit study order``: who is ahead on equal steps, tokens, time, labels."""
