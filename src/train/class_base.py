"""Make the small base of `model: scratch` for a classifier: a decoder where LoRA adapts it, an encoder where all weights are trained."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tqdm.auto import tqdm

from src.core.errors import MlxError
from src.core.files import digest, sha256
from src.core.run import Run
from src.core.seeds import derive
from src.models import scratch, scratch_decoder, scratch_encoder
from src.train.base import Base, find_base
from src.train.class_rows import texts_of

if TYPE_CHECKING:
    from src.train import TrainConfig

Report = Callable[[int, float], None]


def find_class_base(config: "TrainConfig", run: Run) -> Base:
    """Find the base model, making it where `model: scratch` asks for it."""
    return find_base(config, run, make=lambda: _made(run, whole=config.lora is None, steps=config.scratch.steps))


def _made(run: Run, *, whole: bool, steps: int) -> Path:
    """The folder of a base that has read the training split's texts; made once for the same texts, seed and steps."""
    source = run.input("dataset").path / "train.jsonl"
    if not source.exists():
        raise MlxError(f"{source} is missing", "make it with `mlx build`")
    seed = derive(run.seed, "scratch")
    recipes = [sha256(Path(str(module.__file__))) for module in (scratch, scratch_decoder, scratch_encoder)]
    folder = run.cache / "scratch" / digest(["encoder" if whole else "decoder", sha256(source), seed, steps, recipes])
    if not (folder / "config.json").exists():
        _make(run, list(texts_of(source)), folder, whole=whole, seed=seed, steps=steps)
    return folder


def _make(run: Run, texts: list[str], folder: Path, *, whole: bool, seed: int, steps: int) -> None:
    kind = "encoder" if whole else "decoder"
    run.log.info("making a small %s from %s texts in %s steps", kind, f"{len(texts):,}", f"{steps:,}")
    with tqdm(total=steps, unit="step", desc=kind, leave=False, delay=1) as bar:

        def show(done: int, loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(done - bar.n)

        model, tokenizer = _pretrained(texts, whole=whole, seed=seed, steps=steps, on_step=show)
    part = folder.with_name(f".{folder.name}.{uuid4().hex}.part")  # whole or not there
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    part.replace(folder)
    run.log.info("base model of %s parameters → %s", f"{model.num_parameters():,}", folder)


def _pretrained(texts: list[str], *, whole: bool, seed: int, steps: int, on_step: Report) -> tuple[Any, Any]:
    if whole:
        tokenizer = scratch_encoder.wordpiece(texts)
        return scratch_encoder.pretrain_encoder(tokenizer, texts, seed=seed, steps=steps, on_step=on_step), tokenizer
    tokenizer = scratch.train_tokenizer(texts, vocab=4096)
    return scratch_decoder.pretrain_decoder(tokenizer, texts, seed=seed, steps=steps, on_step=on_step), tokenizer
