"""Overrides to runs and back: what users, files and strangers may say."""
