"""Vectors of texts, for memory and for routes: one sentence model for all of a gateway, in a process of its own."""
