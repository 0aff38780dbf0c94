"""Exploration: scenarios that nobody has thought of, on the real kernel against the model, and the shortest of those where they differ."""
