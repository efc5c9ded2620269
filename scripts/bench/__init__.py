"""Time and memory beside other distillation libraries: ``make bench``."""
