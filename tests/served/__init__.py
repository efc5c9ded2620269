"""A teacher and a writer behind a server."""
