"""Which models are asked for a call, in order, and why."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """What a router decided."""

    to: tuple[str, ...]
    """Models in the order to be tried; at least one."""
    why: str = "asked"
    """In a few words of printable ASCII, for the header `x-mlx-route` and the log."""
    shadow: str | None = None
    """A model that is asked too, its answer thrown away."""

    def header(self, answered: str) -> str:
        """What `x-mlx-route` says once `answered` did, and none before it."""
        failed = self.to[: self.to.index(answered)]
        return f"{answered}; {self.why}{'; not ' if failed else ''}{', '.join(failed)}"
