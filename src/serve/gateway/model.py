"""A model behind the gateway: its engine, its bounds, and the counts of what it was asked."""

from dataclasses import dataclass, field
from pathlib import Path

from src.serve.engine import Engine
from src.serve.engines.part import ModelPart


@dataclass(slots=True)
class Tally:
    """Counts since the start; `/metrics` tells them."""

    asked: int = 0
    """Times that the model was tried."""
    answered: int = 0
    failed: int = 0
    """Tries that ended before a byte of an answer: the next model in line was asked, or the client told."""
    inside: int = 0
    """Requests under way."""
    first_byte: float = 0.0
    """Seconds to the first byte, summed over what was answered."""

    async def left(self) -> None:
        """A request has ended."""
        self.inside -= 1


@dataclass(slots=True)
class Model:
    """A model that clients may ask for, or a route may choose."""

    name: str
    engine: Engine
    part: ModelPart = field(default_factory=ModelPart)
    """Its settings: context, deadlines, memory."""
    system: str | None = None
    """Put first where a client sends no system message."""
    longest: int = 1024
    """Tokens that an answer may have; an estimate where the engine is not bound to it."""
    tokenizer: Path | None = None
    """Folder of its tokenizer, by which prompts are counted."""
    tally: Tally = field(default_factory=Tally)
    folder: Path | None = None
    """The training behind it."""
    within: str | None = None
    """The model whose process it is part of, where it is an adapter: that one is loaded and unloaded."""
    drained: bool = False
    """Whether it takes nothing new: an administrator has it end what it is at."""
    down: str = ""
    """What a probe found against its engine, where it is far away; nothing where it is there, or was not looked for."""

    @property
    def state(self) -> str:
        """The engine's, `drained`, or `down`."""
        return "drained" if self.drained else "down" if self.down else self.engine.state
