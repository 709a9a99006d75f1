"""Backends one talks to, and the launcher that starts an engine."""
