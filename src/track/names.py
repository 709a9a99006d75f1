"""What settings and numbers are called in a tracker."""

from collections.abc import Mapping
from typing import Any

from src.core.secrets import redact


def flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Turn settings within settings into `train.lora.r: 16`, and leave out no key and every secret."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{above}.{key}".lstrip(".")
        found |= flat(value, name) if isinstance(value, Mapping) else {name: redact(str(value))}
    return found


def tag(name: str) -> str:
    """Group a number: `validation_loss` → `validation/loss`, `grad_norm` → `train/grad_norm`."""
    group, _, rest = name.partition("_")
    return f"validation/{rest}" if group == "validation" else f"train/{name}"
