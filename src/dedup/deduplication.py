"""The whole way: sketch parts, pair documents, decide, sort the rows; each task's file is found again after a kill."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.core.engine import LocalEngine, Workers
from src.core.run import Run
from src.dedup import DedupConfig
from src.dedup.corpus import Corpus, Sketched
from src.dedup.fates import Choice, decide, group
from src.dedup.index import FOLDER, load_index, save_index
from src.dedup.links import join, link_band, link_equal, waves
from src.dedup.parts import Part, cut
from src.dedup.shelf import Shelf
from src.dedup.sketching import Method, sketch_part
from src.dedup.sorting import Sorted, Task, shelve_sorted, sort_part, unshelve_sorted


@dataclass
class Deduplication:
    """One run."""

    config: DedupConfig
    run: Run

    def __post_init__(self) -> None:
        config = self.config
        column = config.keep if isinstance(config.keep, str) else config.keep.column
        self.keep = column if isinstance(config.keep, str) else "score"
        score = None if isinstance(config.keep, str) else column
        self.method = Method(config.unit, config.size, config.threshold, config.text, score)
        self.shelf = Shelf(self._place())

    def _place(self) -> str:
        shared = None if isinstance(self.config.engine, LocalEngine) else self.config.engine.shared
        if shared is None:
            return str((self.run.work / "shelf").absolute())
        name = f"{self.run.name}-{self.run.work.name}"
        return f"{shared.rstrip('/')}/{name}" if "://" in shared else str(Path(shared, name).absolute())

    def go(self) -> None:
        """Do it all."""
        inputs = self.run.inputs.get("records", ())
        parts = cut(inputs, self.config.part_mb << 20)
        with self.config.engine.open() as workers:
            corpus = self._sketch(workers, parts)
            self._decide(workers, corpus, parts)
            self._write(workers, corpus, parts)
        if self.config.save_index:
            save_index(self.run.output / FOLDER, corpus.parts[len(corpus.parts) - len(parts) :], self.method)
        self.shelf.clear()

    def _sketch(self, workers: Workers, parts: list[Part]) -> Corpus:
        found: list[Sketched] = []
        for folder in self.config.index:
            found += load_index(folder, self.method, scored=self.method.score is not None)
        old = sum(part.documents for part in found)
        heads = workers.map(sketch_part, ((self.shelf, part, self.method) for part in parts))
        line, path = 1, ""
        for part, head in zip(parts, self.run.progress(heads, total=len(parts), unit="part", desc="sketch"), strict=True):
            line = line if part.path == path and part.start else 1
            found.append(Sketched(self.shelf, f"{part.name}.sketch", head["documents"], part.path, part.kind, line))
            line, path = line + head["lines"], part.path
        return Corpus(tuple(found), old)

    def _decide(self, workers: Workers, corpus: Corpus, parts: list[Part]) -> None:
        bands: list[str] = []
        list(workers.map(link_equal, [(self.shelf, corpus)]))
        if self.config.near:
            found = self._linked(workers, corpus)
            bands = list(self.run.progress(found, total=self.method.bands, unit="band", desc="compare"))
        groups = group(self.shelf, corpus, bands)
        choice = Choice(self.keep, drops_equal=self.config.exact)
        self.run.info |= decide(self.shelf, corpus, groups, choice)
        if self.config.semantic:
            from src.dedup.semantic import thin

            self.run.info |= thin(self.config.semantic, self.shelf, corpus, parts, self.config.text, self.keep)

    def _linked(self, workers: Workers, corpus: Corpus) -> Iterator[str]:
        done: list[str] = []
        for wave in waves(self.method.bands):
            joined = join(self.shelf, corpus, done)
            for name in workers.map(link_band, [(self.shelf, corpus, band, self.config.threshold, joined) for band in wave]):
                done.append(name)
                yield name

    def _write(self, workers: Workers, corpus: Corpus, parts: list[Part]) -> None:
        task = Task(self.shelf, corpus, self.config.text, self.config.threshold, self.config.format)
        results = self._sorted(workers, task, parts, len(corpus.parts) - len(parts))
        found = self.run.progress(results, total=len(parts), unit="part", desc="write")
        if self.config.format == "jsonl":
            with self.run.write("records.jsonl", "wb") as stream:
                for each in found:
                    stream.write(self._account(each).text)
            return
        from src.core.tables import RECORDS, RecordWriter

        with self.run.write(RECORDS, "wb") as stream, RecordWriter(stream) as writer:
            for each in found:
                writer.write(self._account(each).table)

    def _account(self, found: Sorted) -> Sorted:
        for drop in found.drops:
            self.run.ledger.drop(drop)
        self.run.ledger.keep(found.kept)
        return found

    def _sorted(self, workers: Workers, task: Task, parts: list[Part], first: int) -> Iterator[Sorted]:
        tasks: list[tuple[Any, ...]] = [(task, part, first + number) for number, part in enumerate(parts)]
        if isinstance(self.config.engine, LocalEngine):
            yield from workers.map(sort_part, tasks)
            return
        for name in workers.map(shelve_sorted, tasks):
            yield unshelve_sorted(task, name)
