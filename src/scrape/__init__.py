"""Fetch text from files and books into records."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import Field

from src.core.config import Cosmetic
from src.core.engine import Engine, LocalEngine
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.core.records import Record
from src.core.run import Run
from src.core.stage import StageConfig, stage
from src.scrape.files import FilesSource
from src.scrape.filters import Filter
from src.scrape.gateway_log import GatewayLogSource
from src.scrape.gutenberg import GutenbergSource
from src.scrape.huggingface import HuggingFaceSource
from src.scrape.open_meteo import OpenMeteoSource
from src.scrape.openweathermap import OpenWeatherMapSource
from src.scrape.reddit import RedditSource
from src.scrape.source import Piece
from src.scrape.unique import unique
from src.scrape.web import Shard, WebSource
from src.text.clean import Clean

Source = Annotated[
    FilesSource
    | GutenbergSource
    | WebSource
    | RedditSource
    | OpenMeteoSource
    | OpenWeatherMapSource
    | HuggingFaceSource
    | GatewayLogSource,
    Field(discriminator="type"),
]


class ScrapeConfig(StageConfig):
    """Where the text comes from, and which of it is kept."""

    sources: tuple[Source, ...] = Field(min_length=1)
    """Where the text comes from, each of a `type`; read in this order."""
    shard: Shard | None = None
    """Which part of a crawl this machine does, `{index: 0, count: 4}`, by a hash of the host; sources other than web are part 0's."""
    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] = ()
    """ISO codes of the languages to keep, such as `en`; empty keeps all."""
    language_confidence: float = Field(default=0.7, ge=0, le=1)
    """How sure the detection has to be to drop a text for its language, or to overrule what a source states."""
    min_words: int = Field(default=1, ge=0)
    """Words below which a text is dropped."""
    clean: Clean | None = Clean()
    """How texts are cleaned before anything judges them; null leaves them as they came."""
    filters: tuple[Filter, ...] = ()
    """What texts have to be like besides, each of a `type`; applied in this order."""
    engine: Annotated[Engine, Cosmetic()] = LocalEngine()
    """Where texts are judged: `local` (processes of this machine, `threads` of them), `dask` or `ray`; the bytes are the same."""


@stage()
def scrape(config: ScrapeConfig, run: Run) -> None:
    """Fetch text from files and books into records."""
    languages: Counter[str] = Counter()
    words = 0

    def counted() -> Iterator[Record]:
        nonlocal words
        for record in run.kept(unique(run.progress(_sited(config, run), unit="record"), run.work)):
            languages[record.meta.get("language", "unknown")] += 1
            words += len(record.text.split())
            yield record

    run.write_records(counted())
    if not run.ledger.kept and config.shard is None:  # a machine may have got no host
        reasons = ", ".join(f"{reason} {count}" for reason, count in run.ledger.counts()["reasons"].items()) or "the sources are empty"
        raise MlxError(
            f"scrape found nothing to keep in {len(config.sources)} source(s): {reasons}",
            f"look at {run.ledger.path}" if run.ledger.dropped else "look at scrape.sources",
        )
    run.info |= {"words": words, "languages": dict(languages.most_common())}


def _sited(config: ScrapeConfig, run: Run) -> Iterator[Record | Drop]:
    """What was found, without the lines of its sites where a filter asks for that: these show once all pages are there."""
    from src.scrape.site_lines import SiteLines

    wanted = next((each for each in config.filters if each.type == "boilerplate" and each.min_pages), None)
    if wanted is None:
        yield from _found(config, run)
        return
    lines = SiteLines(share=wanted.share, min_pages=wanted.min_pages)
    lines.learn(_found(config, run))
    for item in _found(config, run):  # pieces done once are read back
        yield item if isinstance(item, Drop) else lines.apply(item)


def _found(config: ScrapeConfig, run: Run) -> Iterator[Record | Drop]:
    """What the sources hold, file by file, each judged once even over a kill."""
    from src.scrape.judge import Judge
    from src.scrape.judging import judging

    judge = Judge(config.languages, config.language_confidence, config.min_words, config.clean, config.filters)
    with judging(judge, config.engine) as judged:
        for number, source in enumerate(config.sources):
            work = run.work / f"source-{number}"
            work.mkdir(exist_ok=True)
            for piece in _pieces(source, config.shard, work, run.cache / "http"):
                if isinstance(piece, Drop):
                    yield piece
                else:
                    yield from run.piece(f"{number}:{piece.name}", partial(_judged, judged, piece, run))


def _pieces(source: Source, shard: Shard | None, work: Path, cache: Path) -> Iterator[Piece | Drop]:
    """This machine's pieces of a source."""
    if isinstance(source, WebSource):
        return source.pieces(work, cache, shard)
    return source.pieces(work, cache) if shard is None or shard.index == 0 else iter(())


def _judged(judged: Callable[[Iterable[Record | Drop]], Iterator[bytes]], piece: Piece, run: Run, done: int) -> Iterator[bytes]:
    """Judge a piece from the row on that follows those done."""
    return judged(islice(run.progress(piece.make(), desc=piece.name), done, None))
