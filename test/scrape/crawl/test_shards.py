import json
import random
from collections import Counter
from pathlib import Path

import pytest

from src.core.tables import read_records
from src.dedup import dedup
from src.scrape import scrape

HOSTS = [f"127.0.0.{number}" for number in range(2, 10)]
PAGES = 6
WORDS = ["sea", "harbour", "weather", "ship", "people", "morning", "story", "letter", "river", "winter", "window", "garden"]


def story(name: str) -> str:
    dice = random.Random(name)
    return "".join(f"<p>{name}: {' '.join(dice.choices(WORDS, k=30))}.</p>" for _ in range(6))


@pytest.mark.slow
def test_four_machines_crawl_every_page_once_and_dedup_joins_them(site, page, monkeypatch) -> None:
    def answer(number: int):  # the same path on each host, another page
        links = [f"http://{host}:{site.port}/{(number + 1) % PAGES}" for host in HOSTS]

        def made(_: int) -> tuple[int, dict[str, str], bytes]:
            host = site.log[-1][1]
            return 200, {}, page(f"Page {number}", *links, text=story(f"{host} {number}"))

        return made

    site.pages |= {f"/{number}": answer(number) for number in range(PAGES)}
    web = {
        "type": "web",
        "start": f"http://{HOSTS[0]}:{site.port}/0",
        "hosts": [f"{host}:{site.port}" for host in HOSTS],
        "depth": 20,
        "delay": 0,
        "allow_private": True,
    }
    web |= {"workers": 1, "connections": 1, "concurrency": 1}  # one at a time: the page is made for the last host in the log
    web["start"] = [f"http://{host}:{site.port}/0" for host in HOSTS]
    Path("t.yaml").write_text(json.dumps({"name": "t", "scrape": {"sources": [web], "shard": {"count": 4}}}))
    kept: list[str] = []
    for number in range(4):
        manifest = scrape(scrape.load("t.yaml", f"name=t{number}", f"scrape.shard.index={number}"))
        mine = [record.id for record in read_records(Path(f"data/t{number}/scrape"))]
        assert manifest.counts["kept"] == len(mine)
        assert len({each.split("/")[2] for each in mine}) < len(HOSTS)  # not all of them came to one
        kept += mine
    wanted = {f"http://{host}:{site.port}/{number}" for host in HOSTS for number in range(PAGES)}
    assert sorted(kept) == sorted(wanted)
    asked = Counter((host, path) for _, host, path, _ in site.log)
    assert set(asked.values()) == {1}  # robots.txt too
    Path("d.yaml").write_text(json.dumps({"name": "t", "dedup": {"input": [f"data/t{number}/scrape" for number in range(4)]}}))
    counts = dedup(dedup.load("d.yaml")).counts
    assert (counts["read"], counts["kept"]) == (len(wanted), len(wanted))
    assert {record.id for record in read_records(Path("data/t/dedup"))} == wanted
