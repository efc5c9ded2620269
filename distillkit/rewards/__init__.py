"""Rewards: what a response is worth, whoever wrote it."""
