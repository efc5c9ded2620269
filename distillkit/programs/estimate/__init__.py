"""``distillkit estimate``: what cheaper estimators make of one batch."""
