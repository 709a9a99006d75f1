"""Where a request goes, and why."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """A route."""

    to: tuple[str, ...]
    """Models in the order in which they are tried; one at least."""
    why: str
    """In a few words of ASCII, for the header `x-mlx-route`."""
    shadow: str | None = None
    """A model that gets a copy of the request, and whose answer is thrown away."""

    def header(self, answered: str) -> str:
        """The header's value once `answered` did."""
        failed = self.to[: self.to.index(answered)] if answered in self.to else ()
        return "; ".join([answered, self.why, *([f"not {', '.join(failed)}"] if failed else [])])
