"""Forms: how prompt and response become a batch, and where in it hidden states are read."""
