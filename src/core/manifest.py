"""A manifest lies beside every output. It is written last, so its presence means the output is whole."""

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from src import __version__
from src.core.config import Config
from src.core.errors import MlxError
from src.core.files import digest, sha256, write_text

NAME = "manifest.json"
_PACKAGES = ("polars", "torch", "transformers", "peft", "trl", "bitsandbytes", "vllm")


class Origin(Config):
    """An input as it was when it was read."""

    path: str
    fingerprint: str


class Manifest(Config):
    """What made an output, from what, and what came of it."""

    stage: str
    name: str
    """The project's name."""
    key: str
    """Stands for stage, config, seed and inputs: the output is fresh while these give the same key."""
    fingerprint: str
    """Stands for the content of the output's files."""
    seed: int
    config: dict[str, Any]
    inputs: dict[str, tuple[Origin, ...]]
    outputs: dict[str, str]
    """SHA-256 of each file of the output, by its name in the folder."""
    counts: dict[str, Any]
    """`read`, `kept`, `dropped` rows and `reasons`."""
    info: dict[str, Any]
    """What the stage noted for the next ones: splits, token counts, figures, the served prompt."""
    versions: dict[str, str]
    created: datetime
    seconds: float
    peak_mb: float
    """Peak resident memory of the process, in MB."""

    def write(self, folder: Path) -> None:
        """Declare the output in `folder` whole."""
        write_text(folder / NAME, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path, made_by: str = "") -> "Manifest":
        """Read the manifest in `folder`; where there is none, name the command that makes it."""
        try:
            return cls.model_validate_json((folder / NAME).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            hint = f"run `{made_by}` first" if made_by else "run the stage that makes it"
            raise MlxError(f"{folder} is not a finished output (it has no {NAME})", hint) from None
        except ValidationError as error:
            hint = f"make it again with `{made_by} --force`" if made_by else "make it again"
            raise MlxError(f"{folder / NAME} cannot be read: {error.errors()[0]['msg']}", hint) from None

    @classmethod
    def find(cls, folder: Path) -> "Manifest | None":
        """Read the manifest in `folder`, or None where there is no readable one."""
        try:
            return cls.read(folder)
        except MlxError:
            return None


def hash_outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in `folder` that is part of the output: all but hidden ones and the manifest."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        if path.is_file() and not hidden and name != NAME:
            found[name] = sha256(path)
    return found


def content(outputs: dict[str, str], volatile: tuple[str, ...]) -> str:
    """Fingerprint of an output's content, without the files that hold times or speeds (`volatile` names or folders)."""
    return digest({name: sha for name, sha in outputs.items() if name.split("/")[0] not in volatile})


def versions() -> dict[str, str]:
    """Versions of mlx, Python and the packages that can change an output."""
    found = {"mlx": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
