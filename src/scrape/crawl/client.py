"""Starting the crawling process and reading what it brought; if it or this one is killed, the next run goes on from there."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.core.errors import MlxError
from src.core.files import write_text
from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.crawl.frontier import Frontier
from src.scrape.crawl.job import Job

ROOT = Path(__file__).parents[3]
_UNREACHED = {"timeout", "unreachable", "unknown_host", "private_address", "robots"}


def crawled(job: Job) -> Iterator[Record | Drop]:
    """Crawl, and yield records and drops by address; what depends on the order of answers has no part in it.

    Raises:
        MlxError: Where not one page could be reached.
    """
    _check(job)
    done = job.frontier.with_suffix(".done")
    if not done.exists():
        _run(job)
        write_text(done, "")
    frontier = Frontier(job.frontier)
    try:
        _raise_if_unreached(job, frontier)
        yield from frontier.results()
    finally:
        frontier.close()


def _check(job: Job) -> None:
    """Say what is wrong before anything is fetched."""
    from src.scrape.crawl.browser import chromium
    from src.scrape.crawl.extract import check_selectors

    if job.source.javascript:
        chromium()
    try:
        check_selectors(job.source.selectors)
    except ValueError as error:
        raise MlxError(f"scrape.sources: {error}", "mend the selector") from None


def _run(job: Job) -> None:
    file = job.frontier.with_suffix(".json")
    log = job.frontier.with_suffix(".log")
    write_text(file, job.model_dump_json())
    with log.open("ab") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", "src.scrape.crawl", str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C is for this process; the other ends with it
            env=_environment(),
        )
        try:
            _watch(child, job)
        finally:
            child.kill()
            code = child.wait()
            for stream in (child.stdin, child.stdout):
                if stream:
                    stream.close()
    if code:
        tail = log.read_text(encoding="utf-8", errors="replace")[-4000:]
        raise RuntimeError(f"the crawl ended with {code}; {log} ends with:\n{tail}")


def _environment() -> dict[str, str]:
    import os

    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _watch(child: "subprocess.Popen[bytes]", job: Job) -> None:
    """Show progress until the crawl ends: pages a second, and the time left by budget and queue."""
    from tqdm.auto import tqdm

    assert child.stdout is not None  # noqa: S101 (a pipe)
    with tqdm(unit="page", desc="crawl", mininterval=0.5, leave=False, delay=1) as bar:
        for line in child.stdout:
            counts: dict[str, Any] = json.loads(line)
            done = counts["kept"] + counts["dropped"]
            if not bar.n and not bar.initial:
                bar.initial = bar.n = done  # of the run before: no part of this one's speed
            bar.total = done + counts["left"]
            bar.set_postfix_str(f"queue {counts['queue']:,}, dropped {counts['dropped']:,}", refresh=False)
            bar.update(done - bar.n)
    child.wait()


def _raise_if_unreached(job: Job, frontier: Frontier) -> None:
    """A crawl that reached nothing is a fault of the network or the config; the next run tries anew."""
    found = list(frontier.failures(20))
    if found and len(found) < 20 and not frontier.has_documents() and all(drop.reason in _UNREACHED for drop in found):
        frontier.close()
        for file in job.frontier.parent.glob(f"{job.frontier.stem}.*"):
            file.unlink()
        raise MlxError(
            f"web: none of {len(found)} addresses could be fetched: {found[0].id}: {found[0].reason}: {found[0].detail}",
            "check the network, the addresses, and the source's allow_private",
        )
