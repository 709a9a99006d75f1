"""Takes a folder that somebody names over the network for what it may be: a training below `checkpoint`, and nothing else."""

import re
from pathlib import Path, PurePosixPath

from src.models.trained import ADAPTER
from src.serve.request import RequestError

ROOT = Path("checkpoint")
_PLAIN = re.compile(r"[\w. /-]{1,512}")


def train_output(text: str) -> Path:
    """The folder, from where the server runs.

    Raises:
        RequestError: 400 where it is, or anything in its adapter is, outside `checkpoint`; what lies there is not told.
    """
    path = PurePosixPath(text)
    inside = _PLAIN.fullmatch(text) and not path.is_absolute() and ".." not in path.parts and path.parts[:1] == ROOT.parts
    folder = Path(path)
    if not inside or not all(_within(each) for each in (folder, folder / ADAPTER, *(folder / ADAPTER).rglob("*"))):
        raise RequestError(400, "folder: has to be the folder of a training, as checkpoint/NAME/train", code="bad_folder", param="folder")
    return folder


def _within(path: Path) -> bool:
    """Whether a path leads below `checkpoint`, links followed."""
    return path.resolve().is_relative_to(ROOT.resolve())
