"""New project files from the shipped ones, comments and all."""

import re
import shutil
from pathlib import Path

from src.core.errors import MlxError, did_you_mean
from src.core.files import write_text

_PACKAGED = Path(__file__).parent.parent / "template"
_REPOSITORY = Path(__file__).parent.parent.parent / "config"


def templates() -> dict[str, Path]:
    """The shipped project files by name."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _REPOSITORY
    return {path.stem: path for path in sorted(folder.glob("*.yaml")) if not path.name.startswith("local_")}


def scaffold(name: str, template: str, folder: Path = Path("config")) -> Path:
    """Write `config/NAME.yaml` after a shipped file, and the data that it names if it is not here."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
        raise MlxError(f"{name!r} is no project name", "use small letters, digits, - and _, as in mlx init my-project")
    known = templates()
    if template not in known:
        raise MlxError(f"no template {template!r}{did_you_mean(template, known)}")
    target = folder / f"{name}.yaml"
    if target.exists():
        raise MlxError(f"{target} is already there", "choose another name, or edit it")
    source = known[template]
    text = source.read_text(encoding="utf-8")
    write_text(target, re.sub(r"(?m)^name:.*$", f"name: {name}", text, count=1))
    corpus = source.with_suffix("")
    if corpus.is_dir() and not (folder / corpus.name).exists():
        shutil.copytree(corpus, folder / corpus.name)
    return target
