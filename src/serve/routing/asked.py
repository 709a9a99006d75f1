"""What a route is chosen by: the few facts of a request that rules and weights look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.serve.request import Call
from src.serve.routing.estimate import estimate
from src.serve.routing.said import first_said, last_said

_IMAGES = ("image_url", "input_image")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as routing is concerned."""

    model: str
    """As the client wrote it."""
    path: str = "/v1/chat/completions"
    prompt: str = ""
    """What a person said last."""
    tokens: int = 0
    """Of messages and tools, estimated: which tokenizer counts is known only once a model is chosen."""
    tools: bool = False
    images: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    """By names in lower case."""
    role: str | None = None
    user: str = ""
    """Who asks; empty where everybody may."""
    opening: str = ""
    """What a person said first: with the user it names the conversation."""

    @classmethod
    def of(cls, call: Call) -> "Asked":
        """Read the facts off a call."""
        body, caller = call.body, call.visit.caller if call.visit else None
        found = body.get("messages")
        messages = found if isinstance(found, list) else []
        prompt = last_said(messages) if messages else _plain(body.get("prompt", body.get("input")))
        return cls(
            model=call.model,
            path=call.path,
            prompt=prompt,
            tokens=estimate(body),
            tools=bool(body.get("tools")) and body.get("tool_choice") != "none",
            images=any(_shows(message) for message in messages),
            headers={key.decode("latin-1").lower(): value.decode("latin-1") for key, value in call.headers},
            role=caller.role_name if caller else None,
            user=caller.id if caller else "",
            opening=first_said(messages) if messages else prompt,
        )


def _plain(prompt: Any) -> str:
    """Of completions and embeddings: a text, or the last of several."""
    found = prompt[-1] if isinstance(prompt, list) and prompt else prompt
    return found[-20_000:] if isinstance(found, str) else ""


def _shows(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else ()
    return any(isinstance(part, dict) and part.get("type") in _IMAGES for part in parts)
