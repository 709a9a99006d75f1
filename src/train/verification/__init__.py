"""Proves that what is served is what was trained: the same tokens, the same log-probabilities."""
