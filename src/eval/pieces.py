"""Cuts a project's own texts into pieces of one length, for a judge of voice to learn from and to be tested on."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from src.core.records import Record
from src.core.seeds import derive
from src.text.normalise import normalise

FEWEST = 20  # pieces of each class; below it neither learning nor testing says anything
ROOM = 4_000_000  # characters kept of each class while the records are read


class UnfitJudgeError(Exception):
    """No judge can be had from these texts; `detail` holds the figures of its test, where it came to one."""

    def __init__(self, reason: str, detail: dict[str, object] | None = None) -> None:
        super().__init__(reason)
        self.detail = detail or {}


@dataclass(frozen=True)
class Piece:
    """Some words of a document."""

    text: str
    source: str
    persona: bool


def pieces(
    records: Iterable[Record], persona: Mapping[str, str | list[str]], *, seed: int, samples: int, words: int, fewest_words: int
) -> list[Piece]:
    """Pieces of `words` words, at most `samples` of each class: of records that match `persona`, and of all others.

    All have one length and one typography, so that neither tells the classes apart.

    Raises:
        UnfitJudgeError: Where a class is missing or tiny.
    """
    cut: dict[bool, dict[str, list[Piece]]] = {True: defaultdict(list), False: defaultdict(list)}
    room = {True: ROOM, False: ROOM}
    for record in records:
        kind = record.matches(dict(persona))
        if room[kind] <= 0:
            continue
        source = str(record.meta.get("source") or record.id)
        found = [Piece(text, source, kind) for text in _cut(record.text, words, fewest_words)]
        room[kind] -= sum(len(piece.text) for piece in found)
        cut[kind][source] += found
    for kind, name in ((True, "in the persona's voice"), (False, "in any other voice")):
        if (count := sum(map(len, cut[kind].values()))) < FEWEST:
            raise UnfitJudgeError(f"only {count} pieces of text {name}, and the judge needs {FEWEST} of both to learn from")
    return [piece for kind in (True, False) for piece in _drawn(cut[kind], samples, seed)]


def _cut(text: str, words: int, fewest: int) -> list[str]:
    """A text in pieces of `words` words, in one typography: quotes and dashes tell editions apart, not voices."""
    found = normalise(text).split()
    cut = [found[at : at + words] for at in range(0, len(found), words)]
    return [" ".join(piece) for piece in cut if len(piece) >= fewest]


def _drawn(by_source: Mapping[str, list[Piece]], samples: int, seed: int) -> list[Piece]:
    """At most `samples` pieces, in turn from each document, so that a long book does not drown the others."""
    shuffled = [sorted(each, key=lambda piece: derive(seed, "judge", piece.text)) for _, each in sorted(by_source.items())]
    deepest = max(map(len, shuffled))
    return [each[depth] for depth in range(deepest) for each in shuffled if depth < len(each)][:samples]
