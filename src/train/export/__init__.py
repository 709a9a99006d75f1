"""Hands a trained model on: its adapter, merged, or as GGUF, each with a card that tells where it comes from."""
