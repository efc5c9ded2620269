"""Teachers that write lessons: local models, served models, and rules."""
