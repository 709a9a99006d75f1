"""With a key nothing of a memory's notes and vectors is readable on the disk, and answers draw on it as before."""

import logging
import os
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.sealing import MEMORY, Seal, SealError
from src.serve.access.strength import made
from src.serve.beside.answering import Refused
from src.serve.embedding.embedder import Hashing
from src.serve.memory import Memory, sealed
from src.serve.memory.add import add
from src.store.arango import Arango
from src.store.numpy import Numpy

BANK, INDEX = Path("memory_bank"), Path("data/t/memory")
SECRET_WORD = "heliotrope"
NOTE = f"# Keys\nThe {SECRET_WORD} lamp is in the cellar."


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("MLX_MEMORY_KEY", made())


@pytest.fixture
def memory():
    BANK.mkdir()
    return Memory(store=Numpy(), embedder=Hashing())


def noted(memory, name="keys.md", text=NOTE, append=False):
    return add(BANK, name, text, append=append, largest=100_000, note=10_000, seal=memory.seal())


def found(memory, question="Where is the lamp?"):
    bank = memory.open("t")
    try:
        return [(each.chunk.source, each.chunk.text) for each in bank.search(question)], bank.changes
    finally:
        bank.close()


def on_disk():
    return {path: path.read_bytes() for folder in (BANK, INDEX) for path in folder.rglob("*") if path.is_file()}


def test_a_note_is_found_and_cited_by_its_name_and_lies_sealed(memory, key):
    assert noted(memory) == "keys.md"
    assert noted(memory, text="And the wick is new.", append=True) == "keys.md"
    passages, _ = found(memory)
    assert passages[0][0] == "keys.md > Keys" and SECRET_WORD in passages[0][1] and "wick" in passages[0][1]
    assert (BANK / "keys.md.sealed").exists()
    readable = [path for path, data in on_disk().items() if SECRET_WORD.encode() in data or b"wick" in data]
    assert readable == []


def test_vectors_are_readable_nowhere_and_not_computed_twice(memory, key, monkeypatch):
    noted(memory)
    embedder = memory.embedder.open()
    vector = embedder.embed([f"keys.md > Keys\n{NOTE}", NOTE, NOTE.splitlines()[1]])
    bank = memory.open("t")
    hidden = bank.hidden.folder
    assert any(hidden.rglob("*.sqlite")) and hidden.stat().st_mode & 0o077 == 0
    unsealed = bank.embedded.texts([bank.catalogue[name].about for name in bank.catalogue])
    bank.close()
    assert not hidden.exists()
    for data in on_disk().values():
        assert all(each.tobytes() not in data for each in [*unsealed, *vector])
    monkeypatch.setattr(type(embedder), "embed", lambda *_: pytest.fail("embedded again"))
    bank = memory.open("t")
    assert bank.changes.added == 1  # the store is new, its vectors are not
    bank.close()


def test_what_lay_readable_goes_and_what_a_kill_left_too(memory, monkeypatch):
    (BANK / "keys.md").write_text(NOTE)
    found(memory)
    assert list(INDEX.glob("embedded-*")) and list(INDEX.glob("numpy-*"))
    (INDEX / "own").mkdir()
    monkeypatch.setenv("MLX_MEMORY_KEY", made())
    left = memory.open("t")
    folder = left.hidden.folder
    left.lock.release()  # as if it had been killed
    assert found(memory)[0]
    assert not folder.exists() and not list(INDEX.glob("embedded-*")) and not list(INDEX.glob("numpy-*"))
    assert (INDEX / "own").exists(), "what is not the memory's stays"
    left.store.close()
    left.embedded.close()


def test_without_the_key_a_sealed_note_is_left_out_and_said_to_be(memory, monkeypatch, key):
    noted(memory)
    monkeypatch.delenv("MLX_MEMORY_KEY")
    passages, changes = found(memory)
    assert passages == [] and changes.left_out == ("keys.md: sealed, and there is no key",)
    monkeypatch.setenv("MLX_MEMORY_KEY", made())
    assert found(memory)[1].left_out == ("keys.md: sealed with another key, or changed",)


def test_another_key_makes_the_vectors_anew(memory, monkeypatch, key):
    (BANK / "keys.md").write_text(NOTE)
    before = found(memory)[0]
    monkeypatch.setenv("MLX_MEMORY_KEY", made())
    assert found(memory)[0] == before != []


def test_a_note_is_readable_or_sealed_never_both(memory, monkeypatch, key):
    noted(memory)
    (BANK / "keys.md").write_text("# Keys\nanother")
    assert found(memory)[1].left_out == ("keys.md.sealed: keys.md is there too",)
    (BANK / "plain.md").write_text("# Plain")
    with pytest.raises(Refused, match=r"plain.md is there readable"):
        noted(memory, "plain.md", append=True)
    monkeypatch.delenv("MLX_MEMORY_KEY")
    (BANK / "keys.md").unlink()
    with pytest.raises(Refused, match=r"keys.md is there sealed"):
        noted(memory, append=True)


def test_a_weak_key_is_refused(memory, monkeypatch):
    monkeypatch.setenv("MLX_MEMORY_KEY", "password")
    with pytest.raises(MlxError, match="MLX_MEMORY_KEY is shorter"):
        memory.open("t")


def test_a_machine_without_such_a_folder_and_a_server_that_keeps_vectors_are_told(memory, key, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(sealed, "_IN_MEMORY", tmp_path / "none")
    with caplog.at_level(logging.WARNING, "mlx.memory"):
        assert found(memory)[0] == []
        with pytest.raises(MlxError):
            Memory(store=Arango(url="http://127.0.0.1:9"), embedder=Hashing()).open("t")
    assert "vectors lie readable in" in caplog.text and "unsealed on the server of arango" in caplog.text


def test_a_line_of_another_purpose_and_a_cut_one_are_refused():
    secret = made()
    seal = Seal(secret, MEMORY)
    packed = seal.pack(b"x")
    assert seal.unpack(packed) == b"x" and packed != seal.pack(b"x") and seal.mark(b"x") == seal.mark(b"x") != seal.mark(b"y")
    for bad in (packed[:-1], b"", os.urandom(40), Seal(secret, "other").pack(b"x")):
        with pytest.raises(SealError):
            seal.unpack(bad)
    with pytest.raises(SealError):
        Seal(None, MEMORY).pack(b"x")


def test_the_command_seals_and_unseals(command, memory, key, monkeypatch):
    model = "{type: openai, url: 'http://127.0.0.1:9/v1', model: a}"
    Path("lamp.yaml").write_text(
        f"name: lamp\nserve:\n  engine: null\n  models: {{a: {model}}}\n  memory: {{store: {{type: numpy}}, embedder: {{type: hashing}}}}\n"
    )
    (BANK / "keys.md").write_text(NOTE)
    assert command("memory", "seal", "keys.md", "lamp.yaml")[:2] == (0, "memory_bank/keys.md.sealed: sealed\n")
    assert not (BANK / "keys.md").exists() and SECRET_WORD not in (BANK / "keys.md.sealed").read_text()
    assert SECRET_WORD in command("memory", "search", "Where is the lamp?", "lamp.yaml")[1]
    code, _, err = command("memory", "seal", "keys.md", "lamp.yaml")
    assert code == 2 and "is there already" in err
    assert command("memory", "unseal", "keys.md.sealed", "lamp.yaml")[:2] == (0, "memory_bank/keys.md: readable\n")
    assert (BANK / "keys.md").read_text() == NOTE
    assert "there is no" in command("memory", "unseal", "none.md", "lamp.yaml")[2]
    monkeypatch.delenv("MLX_MEMORY_KEY")
    assert "MLX_MEMORY_KEY is not set" in command("memory", "seal", "keys.md", "lamp.yaml")[2]
