"""Tests of distillkit.preflight."""
