"""A conversation as a model sees it: token ids, what of them is learned, and where each turn stands."""

from dataclasses import dataclass

from src.core.errors import MlxError
from src.models.conversation import Fault


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as a model sees it."""

    ids: list[int]
    """Token ids of the whole conversation."""
    mask: list[int]
    """1 at each token that is learned: what the assistant says, with the token that ends its turn."""
    unlearned: tuple[int, ...] = ()
    """Places of assistant messages that are not learned here: among others the template writes them otherwise than they were
    served (Qwen 3 leaves earlier thoughts out). The conversation up to such a message teaches it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Where an assistant turn stands among the ids."""

    start: int
    """Length of its prompt."""
    number: int
    """Place of its message."""
    end: int
    """One past its last token that is learned."""
    stop: int | None
    """Place of the token that ends the turn; None where no special token does."""
    as_served: bool = True
    """Whether it reads here as it did when it was the last turn, in serving."""


class UnfitError(MlxError):
    """A conversation that the template cannot turn into tokens one may learn from; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.reason}: {fault.detail}", "`mlx build` drops such rows and names them in dropped.jsonl")
        self.fault = fault
