"""Settings of `task: classify`."""

from src.core.config import Config


class Classification(Config):
    """A head that tells classes apart."""
