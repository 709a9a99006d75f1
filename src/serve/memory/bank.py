"""Keeps the vectors of a memory in step with its files, and finds and quotes what a question needs."""

import logging
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from src.core.errors import MlxError
from src.serve.embedding.embedder import Embeds
from src.serve.memory import Memory
from src.serve.memory.chunks import Chunk, chunks
from src.serve.memory.embedded import Embedded
from src.serve.memory.files import Files
from src.serve.memory.quote import Passage, Quotation, quote
from src.serve.memory.sealed import Hidden
from src.store import Row, Vectors
from src.store.failure import StoreError, failing
from src.store.row import Vector

if TYPE_CHECKING:
    from filelock import FileLock

CORE = ("projectbrief", "productContext", "activeContext", "systemPatterns", "techContext", "progress")
"""Cline's six, in the order in which they are read."""
_BATCH = 64  # passages embedded and stored at a time: what a kill can cost
_CORE_SHARE = 0.5  # of a budget, for core files quoted whole


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload did."""

    files: int
    passages: int
    added: int
    forgotten: int
    left_out: tuple[str, ...]
    """Files that were not read, with the reason."""


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that answers a question, by its cosine."""

    chunk: Chunk
    score: float


class Bank:
    """An open memory, for one thread of one process; none of it belongs on an event loop.

    Args:
        config: What the memory consists of.
        project: Whose it is; names the collection.
        index: Folder for its vectors.
        embedder: Makes them; one of its own if None.
    """

    def __init__(self, config: Memory, project: str, index: Path, embedder: Embeds | None = None) -> None:
        if not config.folder.is_dir():
            raise MlxError(f"no memory at {config.folder}: there is no such folder", "make it, with a projectbrief.md, or name another")
        self.log = logging.getLogger("mlx.memory")
        self.seal = config.seal()
        if self.seal and (config.store.type == "arango" or getattr(config.store, "url", None)):
            self.log.warning("memory: the vectors lie unsealed on the server of %s", config.store.type)
        self.files = Files(config.folder, int(config.max_file_mb * 1e6), self.seal)
        self.longest = config.chunk_chars
        self.catalogue: dict[str, Chunk] = {}
        self.chunked: dict[str, tuple[str, list[Chunk]]] = {}
        """Each file's text and passages, so that only what changed is cut again."""
        self.lock = _locked(index)
        with ExitStack() as closing:
            closing.callback(self.lock.release)
            self.hidden = Hidden(index) if self.seal else None
            if self.hidden:
                closing.callback(self.hidden.close)
            kept = index / f"{'sealed' if self.seal else 'embedded'}-{config.embedder.key}.sqlite"
            self.embedded = Embedded(embedder or config.embedder.open(), kept, self.seal)
            closing.callback(self.embedded.close)
            self.store, self.changes = self._opened(config, project, index)
            closing.pop_all()

    def reload(self) -> Changes:
        """Take up what changed in the files since, and forget what is gone; cheap where nothing did.

        Raises:
            StoreError: Where store or embedder fail; the next reload makes up for it.
        """
        return self._reconciled(self.store)

    def search(self, question: str, k: int = 5, vector: Vector | None = None) -> list[Found]:
        """The `k` passages nearest to a question, whose vector may be known already.

        Raises:
            StoreError: Where store or embedder fail: go on without memory.
        """
        if not self.catalogue or not question.strip():
            return []
        return self._nearest(self.embedded.question(question) if vector is None else vector, k)

    def recall(
        self,
        question: str,
        *,
        budget: int,
        count: Callable[[str], int],
        k: int = 5,
        special: Collection[str] = (),
        vector: Vector | None = None,
    ) -> Quotation:
        """Quote what memory has on a question: Cline's core files whole as far as half the budget goes, then the nearest passages.

        Args:
            question: The user's last message.
            budget: Most tokens of the quotation.
            count: Counts the tokens of a text.
            k: How many passages to look for.
            special: Special tokens of the tokenizer that will read it.
            vector: The question's, where it is known already.

        Raises:
            StoreError: Where store or embedder fail: go on without memory.
        """
        core = self._core(int(budget * _CORE_SHARE), count)
        found = self._different(question, k, core, vector) if k and self.catalogue and question.strip() else []
        passages = [Passage(file, text) for file, text in core.items()] + [Passage(chunk.source, chunk.text) for chunk in found]
        return quote(passages, budget=budget, count=count, special=special)

    def close(self) -> None:
        """Let go of store and files."""
        self.store.close()
        self.embedded.close()
        if self.hidden:
            self.hidden.close()
        self.lock.release()

    def _nearest(self, vector: Vector, k: int) -> list[Found]:
        hits = self.store.search(vector, k)
        return [Found(self.catalogue[hit.id], hit.score) for hit in hits if hit.id in self.catalogue]

    def _different(self, question: str, k: int, known: Collection[str], vector: Vector | None) -> list[Chunk]:
        """The `k` nearest that say different things, outside of known files: a passage that is there many times crowds out no other."""
        unit, wanted = self.embedded.question(question) if vector is None else vector, 2 * k
        while True:
            found = self._nearest(unit, wanted)
            said: dict[str, Chunk] = {}
            for chunk in (each.chunk for each in found if each.chunk.file not in known):
                said.setdefault(" ".join(chunk.text.casefold().split()), chunk)
            if len(said) >= k or wanted >= len(self.catalogue):
                return list(said.values())[:k]
            wanted *= 4

    def _core(self, room: int, count: Callable[[str], int]) -> dict[str, str]:
        """Core files that go in whole, by name, in Cline's order."""
        chosen: dict[str, str] = {}
        by_name = {_plain(file): file for file in self.chunked if "/" not in file}
        for file in (by_name[_plain(name)] for name in CORE if _plain(name) in by_name):
            text = self.chunked[file][0].strip()
            if text and (size := count(text)) <= room:
                chosen[file] = text
                room -= size
        return chosen

    def _opened(self, config: Memory, project: str, index: Path) -> tuple[Vectors, Changes]:
        """Open the store and bring it up to date; where its files here are damaged, make them again, once."""
        folder = (self.hidden.folder if self.hidden else index) / f"{config.store.type}-{config.embedder.key}"
        slug = re.sub("[^a-z0-9]", "-", project.lower())[:24].strip("-") or "memory"
        name = f"mlx-{slug}-{crc32(project.encode()):08x}-{config.embedder.key}"

        def attempt() -> tuple[Vectors, Changes]:
            store: Vectors = config.store.open(folder, name=name, dimension=self.embedded.dimension)
            try:
                return store, self._reconciled(store)
            except BaseException:
                store.close()
                raise

        kept_here = folder.exists()
        try:
            return attempt()
        except StoreError as error:
            if not kept_here:
                raise
            self.log.warning("the vectors in %s cannot be read and are made again from the files: %s", folder, error)
            shutil.rmtree(folder)
            return attempt()

    def _reconciled(self, store: Vectors) -> Changes:
        """Hold the store against the files: it has exactly their passages afterwards."""
        read = self.files.read()
        self.chunked = {file: self._cut(file, text) for file, text in read.texts.items()}
        catalogue = {_id(chunk): chunk for _, cut in self.chunked.values() for chunk in cut}
        held = store.ids()
        gone = sorted(held - catalogue.keys())
        missing = [name for name in catalogue if name not in held]
        self.catalogue = catalogue  # at once: nothing of a deleted file is quoted even if the store fails now
        for part in _parts(missing):
            vectors = self.embedded.texts([catalogue[name].about for name in part])
            store.add([Row(name, vector, {"file": catalogue[name].file}) for name, vector in zip(part, vectors, strict=True)])
        if gone:
            store.delete(gone)
        if gone or missing:
            self.embedded.keep(chunk.about for chunk in catalogue.values())
        for reason in read.left_out:
            self.log.warning("memory: %s", reason)
        return Changes(len(read.texts), len(catalogue), len(missing), len(gone), tuple(read.left_out))

    def _cut(self, file: str, text: str) -> tuple[str, list[Chunk]]:
        before = self.chunked.get(file)
        return before if before and before[0] == text else (text, chunks(file, text, self.longest))


@failing("memory")
def _locked(index: Path) -> "FileLock":
    from filelock import FileLock, Timeout

    index.mkdir(parents=True, exist_ok=True)
    lock = FileLock(index / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(f"another process has the memory in {index} open", "end it, or set another `index`") from None
    return lock


def _id(chunk: Chunk) -> str:
    """Names a passage by its content, so that a store that has the id has the passage."""
    return f"{chunk.file}#{sha256(chunk.about.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _plain(file: str) -> str:
    """A name as both spellings share it: activeContext.md, active-context.md."""
    return re.sub(r"[^a-z]", "", file.removesuffix(".md").lower())


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _BATCH] for start in range(0, len(names), _BATCH))
