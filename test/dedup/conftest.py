import json
import random
from pathlib import Path

import pytest
import yaml

from src.core.files import read_jsonl
from src.core.records import Record
from src.dedup import dedup

WORDS = [f"w{number:x}" for number in range(20000)]


def made(seed, count=120):
    """Texts in families of near-duplicates, equals and short ones among them."""
    rng = random.Random(seed)
    records = []
    for family in range(count):
        first = rng.choices(WORDS, k=rng.randint(3, 150))
        for member in range(rng.randint(1, 5)):
            other = list(first)
            for place in rng.sample(range(len(first)), rng.randint(0, min(3, len(first)))):
                other[place] = rng.choice(WORDS)
            records.append(Record(f"{family}.{member}", " ".join(other), {"n": member}))
    rng.shuffle(records)
    return records


@pytest.fixture
def families():
    return made


@pytest.fixture
def jsonl():
    def write(name, records):
        with Path(name).open("w") as stream:
            stream.writelines(json.dumps({"text": each.text, **each.meta}) + "\n" for each in records)
        return Path(name)

    return write


@pytest.fixture
def go():
    """Run dedup with these settings; the manifest, and the dropped rows by id."""

    def run(*, name="p", force=True, **settings):
        Path(f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "dedup": settings}))
        manifest = dedup(dedup.load(f"{name}.yaml"), force=force)
        dropped = Path(f"data/{name}/dedup/dropped.jsonl")
        drops = {row["id"]: row for row in read_jsonl(dropped)} if dropped.exists() else {}
        assert manifest.counts["dropped"] == len(drops)
        return manifest, drops

    return run
