"""What the control plane answers, as its OpenAPI tells it."""

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from src.serve.access.keys import Key
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model


class Fault(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Failure(BaseModel):
    """An error in OpenAI's form."""

    error: Fault


class ModelHealth(BaseModel):
    """A model's state."""

    state: str
    inflight: int
    why: str | None = None
    """What a probe found against its server, where it is `down`."""

    @classmethod
    def of(cls, model: Model) -> "ModelHealth":
        """How a model does."""
        return cls(state=model.state, inflight=model.tally.inside, why=model.down or None)


class Health(BaseModel):
    """Whether requests can be answered."""

    status: str
    models: dict[str, ModelHealth]
    memory: str | None = None
    """State of the files that answers draw on; answers come without them where it is not `ready`."""
    residency: list[dict[str, Any]] = []
    """What models take, and which of them wait for their turn, where there is a budget."""
    room: dict[str, float] = {}
    """What they may take together, in GB: `vram_gb`, `ram_gb`."""

    @classmethod
    def of(cls, gateway: Gateway) -> "Health":
        """`ready`; `degraded` where some models are not; `unavailable` where none is."""
        models = {name: ModelHealth.of(model) for name, model in gateway.models.items()}
        able = sum(each.state == "ready" for each in models.values())
        status = "ready" if able == len(models) else "degraded" if able else "unavailable"
        memory = gateway.memory.state if gateway.memory else None
        told = cls(status=status, models=models, memory=memory)
        if held := gateway.residency:
            told.residency, told.room = held.status(), {"vram_gb": held.whole.vram_gb, "ram_gb": held.whole.ram_gb}
        return told


class Tried(BaseModel):
    """What became of the tries of a model, of one worker since its start; /metrics adds all workers up."""

    asked: int
    answered: int
    failed: int
    first_byte_seconds: float
    """To the first byte, summed over what was answered."""


class Copied(BaseModel):
    """What became of the copies for a shadow, of one worker since its start."""

    sent: int
    answered: int
    failed: int
    left_out: int
    """Not sent: too many were under way, or the model was not loaded, or down."""
    seconds: float
    """To the last byte, summed over what was answered or failed."""


class Status(Health):
    """Health, and what was counted."""

    tries: dict[str, Tried]
    shadows: dict[str, Copied]

    @classmethod
    def of(cls, gateway: Gateway) -> "Status":
        """How one worker does."""
        tallies = {name: model.tally for name, model in gateway.models.items()}
        tries = {
            name: Tried(asked=each.asked, answered=each.answered, failed=each.failed, first_byte_seconds=each.first_byte)
            for name, each in tallies.items()
        }
        counts = gateway.shadows.counts if gateway.shadows else {}
        return cls(**Health.of(gateway).model_dump(), tries=tries, shadows={name: Copied(**asdict(each)) for name, each in counts.items()})


class Lineage(BaseModel):
    """The stages behind each model."""

    models: dict[str, Any]


class KeyShown(BaseModel):
    """A key, without its hash."""

    id: str
    name: str
    role: str
    state: str
    created: str
    expires: str | None
    revoked: str | None

    @classmethod
    def of(cls, key: Key) -> "KeyShown":
        """What may be told of a key."""
        return cls(**{name: getattr(key, name) for name in cls.model_fields})


class Turned(BaseModel):
    """A model that was drained, or taken back."""

    model: str
    drained: bool
    inflight: int


class Reloaded(BaseModel):
    """Settings that changed."""

    in_force: list[str]
    wait_for_restart: list[str]
