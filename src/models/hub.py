"""Say in words a user can act on why a model cannot be had: from a folder or from the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from src.core.errors import MlxError


def located(base: str | Path) -> str:
    """Return `base` as transformers wants it, a folder that holds a model or a hub id, or say what it is instead."""
    path = Path(base)
    if path.is_dir():
        if not any((path / name).exists() for name in ("config.json", "tokenizer_config.json")):
            raise MlxError(
                f"{path} is no model (it has no config.json)", "name a folder that `save_pretrained` wrote, or a model on the hub"
            )
        return path.as_posix()
    if path.is_file():
        raise MlxError(f"{path} is a file", "name the model's folder")
    name = str(base)
    if isinstance(base, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise MlxError(
            f"there is no model folder {name} (looked from {Path.cwd()})", "check the path, or name a model on the hub as OWNER/NAME"
        )
    return name


@contextmanager
def explained(base: str, kind: str = "a causal language model") -> Iterator[None]:
    """Turn what transformers and the hub raise while `base` is loaded into an error that says what to do."""
    try:
        yield
    except (OSError, HFValidationError, ValueError) as error:
        raise reason(base, error, kind) from error


def reason(base: str, error: BaseException, kind: str = "a causal language model") -> MlxError:
    """Say why `base` could not be loaded, from the chain of causes of `error`."""
    causes = list(_causes(error))

    def was(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if was(GatedRepoError):
        return MlxError(f"{base} is gated on the hub", "accept its terms on its page there, then set HF_TOKEN in .env")
    if was(RepositoryNotFoundError, HFValidationError):
        return MlxError(f"{base} is neither a folder here nor a model on the hub", "check the name; a private one needs HF_TOKEN in .env")
    if answer := next((cause for cause in causes if isinstance(cause, HfHubHTTPError) and not isinstance(cause, EntryNotFoundError)), None):
        return MlxError(f"{base}: the hub refuses it: {_line(answer)}", "try again, or check the name")
    if was(LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) or any("onnect" in type(cause).__name__ for cause in causes):
        return MlxError(f"{base} is not on this machine and the hub cannot be reached", "go online, or name a folder with the model")
    if "safetensors" in str(error):
        return MlxError(
            f"{base} has no weights in safetensors", "convert it with `save_pretrained`; pickled weights can run code and are not read"
        )
    return MlxError(f"{base} cannot be loaded: {_line(error)}", f"check that it is {kind} in the Hugging Face format")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
