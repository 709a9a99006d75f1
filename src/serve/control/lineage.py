"""What a served model was made from, stage by stage, back to the sources; told from the manifests, without a path of this machine."""

from pathlib import Path
from typing import Any

from src.core.manifest import Manifest

WORTH = ("base_kind", "quantization", "dtype", "languages", "verdict")
"""What of a manifest's `info` is told."""
SOURCE = ("type", "ids", "start", "url", "repo", "subreddits", "search", "licence", "revision")
"""What of a source's settings is told; of a path its last name."""


def made_from(output: Path) -> list[dict[str, Any]]:
    """The stages behind a finished output, itself first, as far as they are still there as they were read."""
    manifest = Manifest.find(output)
    return list(_steps(manifest, {}).values()) if manifest else []


def _steps(manifest: Manifest, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    if manifest.fingerprint in found:
        return found
    found[manifest.fingerprint] = {
        "stage": manifest.stage,
        "fingerprint": manifest.fingerprint,
        "created": manifest.created.isoformat(),
        "seed": manifest.seed,
        "rows": {name: manifest.counts.get(name) for name in ("read", "kept", "dropped")},
        "versions": manifest.versions,
        "info": {name: manifest.info[name] for name in WORTH if name in manifest.info},
        "sources": [_source(each) for each in manifest.config.get("sources") or ()],
        "inputs": sorted({origin.fingerprint for origins in manifest.inputs.values() for origin in origins}),
    }
    for origin in (each for origins in manifest.inputs.values() for each in origins):
        earlier = Manifest.find(Path(origin.path))
        if earlier and earlier.fingerprint == origin.fingerprint:  # else it was made anew since, and is another
            _steps(earlier, found)
    return found


def _source(settings: dict[str, Any]) -> dict[str, Any]:
    told = {name: settings[name] for name in SOURCE if settings.get(name)}
    return told | ({"path": Path(settings["path"]).name} if settings.get("path") else {})
