"""``distillkit undo-iterate``: lessons rewritten for a student's errors."""
