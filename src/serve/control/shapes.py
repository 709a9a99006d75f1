"""What the control plane answers, as its OpenAPI tells it."""

from typing import Any

from pydantic import BaseModel

from src.serve.access.keys import Key
from src.serve.gateway.gateway import Gateway


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
        models = {
            name: ModelHealth(state="drained" if model.drained else model.engine.state, inflight=model.tally.inside)
            for name, model in gateway.models.items()
        }
        able = sum(each.state == "ready" for each in models.values())
        status = "ready" if able == len(models) else "degraded" if able else "unavailable"
        memory = gateway.memory.state if gateway.memory else None
        told = cls(status=status, models=models, memory=memory)
        if held := gateway.residency:
            told.residency, told.room = held.status(), {"vram_gb": held.whole.vram_gb, "ram_gb": held.whole.ram_gb}
        return told


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
