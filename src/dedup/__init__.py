"""Drop texts that are there twice, or nearly so."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from src.core.ledger import Drop
from src.core.records import Record
from src.core.run import Run
from src.core.stage import StageConfig, stage


class DedupConfig(StageConfig):
    """Which texts count as the same, and which of them stays."""

    exact: bool = True
    """Drop a text that equals one that stays, but for case, width, quotes, dashes and white space."""
    near: bool = True
    """Drop a text that shares most of its runs of words with one that stays, or with one that goes for it."""
    threshold: float = Field(default=0.8, ge=0.3, le=1)
    """Least Jaccard similarity, computed exactly, at which two texts are near-duplicates."""
    ngram: int = Field(default=5, ge=1, le=50)
    """Words in a run; texts of fewer words are near-duplicates of their equals only."""
    keep: Literal["longest", "first"] = "longest"
    """Which text of a group stays; among the longest the one with the lowest id."""


@stage(reads={"records": ("scrape",)})
def dedup(config: DedupConfig, run: Run) -> None:
    """Drop texts that are there twice, or nearly so; each dropped one names the text that stays for it."""
    from src.dedup.survivors import Survivors

    threshold = config.threshold if config.near else None
    found = Survivors(run.progress(run.records(), total=run.count()), size=config.ngram, threshold=threshold)
    sizes = [len(group) for group in found.groups().values()]
    run.info |= {"clusters": len(sizes), "largest_cluster": max(sizes, default=0), "pairs_compared": found.found.compared}
    gone = found.duplicates(keep=config.keep, exact=config.exact)

    def judged() -> Iterator[Record | Drop]:
        for number, record in enumerate(run.records()):
            fate = gone.get(number)
            yield Drop(record.id, fate.reason, fate.detail, record.as_row()) if fate else record

    run.write_records(run.kept(judged()))
