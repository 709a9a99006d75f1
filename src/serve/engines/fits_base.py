"""Tells whether an adapter can be served by the process that serves another model: same base, same tokens, a rank there is room for."""

from pathlib import Path
from typing import TYPE_CHECKING

from src.core.errors import MlxError

if TYPE_CHECKING:
    from src.models.trained import Trained

ALONE = "serve it as a model of its own, under serve.models"


def fits_base(name: str, folder: Path, served: "Trained", *, rank: int | None) -> "Trained":
    """Read the training in `folder`, whose adapter is to answer as `name` beside the model that is served.

    Args:
        name: What clients will call it.
        folder: What `mlx train` left.
        served: The training that the process serves.
        rank: The largest rank that the process has room for; that of vLLM if None.

    Raises:
        MlxError: Where it is no adapter, or one that would answer otherwise there than it was trained to, or not at all.
    """
    from src.llm.vllm import lora_rank
    from src.models.trained import Trained

    found = Trained.of(folder)
    if found.adapter is None:
        raise MlxError(f"adapter {name!r}: {folder} is a whole model", ALONE)
    if not _same_base(found.base_path, served.model):
        raise MlxError(f"adapter {name!r}: {folder} was trained on {found.base}, and this process serves {served.model}", ALONE)
    if found.template != served.template:
        raise MlxError(
            f"adapter {name!r}: {folder} was trained with another chat template or tokenizer than {served.folder}; a process has one", ALONE
        )
    lora_rank(found.adapter, rank)
    return found


def _same_base(one: str, other: str) -> bool:
    """Whether two folders hold the same weights, or two hub ids are the same."""
    from src.models.trained import fingerprint

    if one == other:
        return True
    return all((Path(each) / "config.json").exists() for each in (one, other)) and fingerprint(Path(one)) == fingerprint(Path(other))
