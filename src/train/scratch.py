"""Make the small base model of `model: scratch` once, and keep it for every later training on the same texts."""

import shutil
from pathlib import Path
from uuid import uuid4

from tqdm.auto import tqdm

from src.core.errors import MlxError
from src.core.files import digest, read_jsonl, sha256
from src.core.run import Run
from src.core.seeds import derive
from src.models import scratch as recipe
from src.models.load import load_tokenizer

TEXTS = "texts.jsonl"


def scratch(run: Run, *, steps: int) -> Path:
    """Return the folder of the base made from the dataset's tokenizer and texts, training it where it is not there yet."""
    source = run.input("dataset").path / "scratch"
    if not (source / "tokenizer.json").exists():
        raise MlxError(f"{source} holds no tokenizer to make a base with", "set build.tokenizer to scratch, and run `mlx build`")
    seed = derive(run.seed, "scratch")
    folder = run.cache / "scratch" / _fingerprint(source, seed, steps)
    if not (folder / "config.json").exists():
        _make(run, source, folder, seed=seed, steps=steps)
    return folder


def _make(run: Run, source: Path, folder: Path, *, seed: int, steps: int) -> None:
    texts = [row["text"] for row in read_jsonl(source / TEXTS)]
    tokenizer = load_tokenizer(source)
    run.log.info("making a base model from %s texts in %s steps", f"{len(texts):,}", f"{steps:,}")
    with tqdm(total=steps, unit="step", desc="base", leave=False, delay=1) as bar:

        def show(done: int, loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(done - bar.n)

        model = recipe.pretrain(tokenizer, texts, seed=seed, steps=steps, on_step=show)
    # whole or not there: written beside its place, then renamed
    part = folder.with_name(f".{folder.name}.{uuid4().hex}.part")
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    if (folder / "config.json").exists():  # another training made the same meanwhile
        shutil.rmtree(part)
    else:
        part.replace(folder)
    run.log.info("base model of %s parameters → %s", f"{model.num_parameters():,}", folder)


def _fingerprint(source: Path, seed: int, steps: int) -> str:
    """Stand for all the base depends on: tokenizer, texts, seed, steps and the recipe itself."""
    code = Path(recipe.__file__)
    files = [source / "tokenizer.json", source / TEXTS, code, *sorted(code.parent.glob("curriculum.*"))]
    return digest([*(sha256(file) for file in files), seed, steps])
