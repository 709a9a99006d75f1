"""Uploads an export to the hub, to a private repository unless told otherwise."""

from pathlib import Path
from typing import Any

from src.core.errors import MlxError
from src.core.manifest import Manifest

KEPT_BACK = [".*", "manifest.json", "dropped.jsonl"]
"""What stays here: the manifest names folders of this machine."""


def push(folder: Path, repository: str, *, private: bool = True) -> str:
    """Upload `folder` to the repository OWNER/NAME of the hub, making it where it is not there; return its address.

    Raises:
        MlxError: Without a token or a connection, where the hub refuses, or where a private upload would land in a public repository.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    Manifest.read(folder, "mlx export")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise MlxError(f"{repository!r} is no repository", "spell it OWNER/NAME")
    if not get_token():
        raise MlxError("the hub does not know who you are: there is no token", "set HF_TOKEN in .env to one that may write")
    api: Any = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        if private and not api.repo_info(repository).private:
            raise MlxError(f"{repository} is public", "say --public if everyone may see the model, or name another repository")
        api.upload_folder(
            repo_id=repository, folder_path=folder.as_posix(), ignore_patterns=KEPT_BACK, commit_message=f"{folder.name} made by mlx"
        )
    except OfflineModeIsEnabled:
        raise MlxError("the hub is switched off by HF_HUB_OFFLINE", "unset HF_HUB_OFFLINE; the export itself is done") from None
    except HFValidationError as error:
        raise MlxError(f"{repository!r} is no name for a repository: {_line(error)}", "spell it OWNER/NAME") from None
    except HfHubHTTPError as error:
        raise MlxError(f"the hub refuses {repository}: {_line(error)}", "the token in HF_TOKEN has to be allowed to write there") from None
    except (OSError, HTTPError) as error:
        raise MlxError(
            f"the hub cannot be reached: {_line(error)}", "go online and give the same command; the export itself is done"
        ) from None
    return f"{api.endpoint}/{repository}"


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
