"""How fast rows are rendered, masked and checked: against one plain `apply_chat_template` a row, in alternating blocks of one run.

uv run python python_script/bench_tokens.py [ROWS]

The rows are the quickstart's tool dialogues, the tokenizer is one made of them; the peer gives token ids and nothing else.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from src.build.tools import ToolDialogues
from src.models.conversation import Fault
from src.models.encoder import Encoder
from src.models.scratch import train_tokenizer
from src.models.template import examine_all

BLOCKS = 10


def made(count: int) -> list[dict[str, Any]]:
    """Conversations of one to four exchanges out of the quickstart's tool dialogues."""
    config = yaml.safe_load(Path("config/quickstart.yaml").read_text(encoding="utf-8"))
    settings = next(each for each in config["build"]["sources"] if each["type"] == "tools")
    rows = list(ToolDialogues(**{**settings, "rows": count, "system": "You are Pip."}).examples(42))
    random.Random(42).shuffle(rows)
    return rows[:count]


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, CPU seconds and what came of it."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def main(count: int) -> None:
    """Print rows a second of both, and the medians of their ratios over the blocks."""
    rows = made(count)
    texts = [message["content"] for row in rows[:2000] for message in row["messages"] if message.get("content")]
    tokenizer = train_tokenizer(texts)
    size = max(1, len(rows) // BLOCKS)
    walls, cpus, rates = [], [], []
    for first in range(0, size * BLOCKS, size):
        block = rows[first : first + size]
        plain = lambda some=block: [  # noqa: E731
            tokenizer.apply_chat_template(row["messages"], tools=row["tools"] or None, return_dict=False) for row in some
        ]
        ours = lambda some=block: list(examine_all(Encoder(tokenizer), some))  # noqa: E731
        wall, cpu, ids = timed(plain)
        own_wall, own_cpu, found = timed(ours)
        assert not any(isinstance(each, Fault) for each in found)
        assert [each.ids for each in found] == ids, "the tokens differ"
        walls.append(wall / own_wall)
        cpus.append(cpu / own_cpu)
        rates.append((size / wall, size / own_wall))
    peer, own = (statistics.median(rate[side] for rate in rates) for side in (0, 1))
    print(f"{len(rows):,} rows, {sum(len(row['messages']) for row in rows) / len(rows):.1f} messages each")
    print(f"apply_chat_template, ids alone:       {peer:>8,.0f} rows/s")
    print(f"mlx, ids, mask and every check:       {own:>8,.0f} rows/s")
    print(f"mlx is {statistics.median(walls):.2f} × as fast by wall time, {statistics.median(cpus):.2f} × by CPU time")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
