"""The same loop behind an OpenAI-compatible HTTP endpoint."""
