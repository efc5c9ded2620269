"""``distillkit study scaling``: laws in steps, labels and size, and what they foretell."""
