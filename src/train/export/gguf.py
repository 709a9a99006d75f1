"""Writes the merged model as a GGUF file with a Modelfile, for llama.cpp and Ollama, and reads it back before it is put in place."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from src.core.errors import MlxError
from src.core.files import read_jsonl, write_text
from src.core.manifest import Manifest
from src.core.run import Run
from src.core.stage import StageConfig, stage
from src.models.load import load_tokenizer
from src.models.size import context
from src.models.trained import Trained
from src.train.export.card import Card
from src.train.export.gguf_file import write_gguf
from src.train.export.modelfile import Messages, frame, modelfile
from src.train.export.vocabulary import end_of_turn

Kind = Literal["f32", "f16", "bf16", "q8_0"]
_TRIED = 200
"""Conversations of the dataset on which the Go template is tried."""
_SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty")


class GgufConfig(StageConfig):
    """Write the merged model as a GGUF file."""

    kind: Kind = "f16"
    """What the weights are kept in: matrices, that is; vectors stay f32."""
    num_ctx: int | None = Field(default=None, ge=16)
    """Tokens of context that Ollama makes room for; twice the dataset's longest row if unset, and 2048 at least."""


@stage(reads={"model": ("merge",), "evaluation": ("eval", None)}, volatile=("README.md",), at="checkpoint/{name}/export/gguf")
def gguf(config: GgufConfig, run: Run) -> None:
    """Write the merged model as a GGUF file with a Modelfile and a card, each weight read back and compared."""
    merged = run.input("model")
    if merged.manifest is None:
        raise MlxError(f"{merged.path} is no merged export", "mlx export merge")
    trained = Trained.of(Path(merged.manifest.inputs["model"][0].path))
    file = f"{run.name}-{config.kind}.gguf"
    run.log.info("writing %s", file)
    weights = write_gguf(merged.path, run.output / file, name=run.name, kind=config.kind)
    run.log.info("%s weights written, read back and compared", f"{weights:,}")
    run.ledger.keep(1)
    notes = _modelfile(config, run, merged.path, trained, file)
    run.info |= {"file": file, "kind": config.kind, "weights": weights, "notes": notes, "losses": merged.manifest.info["losses"]}
    write_text(run.output / "README.md", Card.of(run, trained, "gguf").text())


def _modelfile(config: GgufConfig, run: Run, merged: Path, trained: Trained, file: str) -> list[str]:
    """Write the Modelfile; return what a reader of the card has to know."""
    tokenizer = load_tokenizer(merged)
    data = next((Path(origin.path) for origin in Manifest.read(trained.folder).inputs.get("dataset", ())), None)
    made = frame(tokenizer, _plain(data))
    most = context(merged) or 1 << 20
    size = min(most, config.num_ctx or max(2048, 2 * _longest(data)))
    stops = [tokenizer.decode([end_of_turn(tokenizer)])]
    told = merged / "generation_config.json"
    settings: dict[str, Any] = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {}
    parameters = {"num_ctx": size} | {
        key.replace("repetition", "repeat"): settings[key] for key in _SAMPLING if settings.get(key) is not None
    }
    write_text(run.output / "Modelfile", modelfile(file, made, system=trained.system, stops=stops, parameters=parameters))
    if made is None:
        run.log.warning("the chat template does more than Ollama's can: the Modelfile has none; llama-server --jinja takes the file's own")
        return [
            "The Modelfile has no template: the model's own does more than Ollama's can. `llama-server --jinja` takes the one in the file."
        ]
    return ["The Modelfile's template is for talk without tools; for tools, `llama-server --jinja` takes the one in the file."]


def _plain(data: Path | None) -> Iterator[Messages]:
    """Prompts of the dataset without tools."""
    file = data / "train.jsonl" if data else None
    if file is None or not file.exists():
        return
    for number, row in enumerate(read_jsonl(file)):
        if number >= _TRIED:
            return
        messages = row["messages"][:-1]
        if not row.get("tools") and all(message["role"] != "tool" and not message.get("tool_calls") for message in messages):
            yield messages


def _longest(data: Path | None) -> int:
    made = Manifest.find(data) if data else None
    return max((part.get("longest", 0) for part in (made.info.get("splits") or {}).values()), default=0) if made else 0
