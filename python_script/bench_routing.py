"""How often routes find the task of a prompt: 200 prompts kept apart from the examples, with a confusion matrix and its picture.

uv sync --extra semantic; uv run python python_script/bench_routing.py [--embedder minilm|hashing] [--png FILE]

Settings are judged on the examples alone (each compared with the others); the 200 prompts are then asked once.
"""

import argparse
import asyncio
import math
import statistics
import tempfile
import time
from pathlib import Path

import psutil
import yaml
from pydantic import TypeAdapter

from src.models.confusion import plot_confusion
from src.serve.beside.keeper import Keeper
from src.serve.embedding.embedder import Embedder
from src.serve.routing.classified import Classified
from src.serve.routing.nearest import nearest
from src.serve.routing.settings import Classifier

HERE = Path(__file__).resolve().parent.parent
ABSTAINED = "(default)"


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson 1927)."""
    rate = hits / count
    middle = (rate + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def judged_on_examples(embedder: Embedder, examples: dict[str, list[str]]) -> None:
    """Print the accuracy on the examples, each compared with all others, by neighbours."""
    opened = embedder.open()
    vectors = {task: opened.embed(prompts) for task, prompts in examples.items()}
    whole = sum(map(len, examples.values()))
    for neighbours in (1, 3, 5, 8):
        hits = 0
        for task, prompts in examples.items():
            for place in range(len(prompts)):
                cosines = {name: (found @ vectors[task][place]).tolist() for name, found in vectors.items()}
                del cosines[task][place]
                hits += nearest(cosines, neighbours).task == task
        print(f"  examples, {neighbours:2} neighbours: {hits}/{whole} = {hits / whole:.1%}")


async def asked(settings: Classifier, examples: dict[str, list[str]], prompts: list[str]) -> tuple[list[str], list[float], float, float]:
    """Each prompt's task by the real process; with seconds each, its MB, and its seconds until ready."""
    told = {"embedder": settings.embedder.model_dump(), "examples": examples, "neighbours": settings.neighbours}
    folder = Path(tempfile.mkdtemp())
    keeper = Keeper("src.serve.embedding.process", told, path=folder / "embedder.sock", log=folder / "log")
    tasks = Classified(settings, keeper)
    began = time.perf_counter()
    running = asyncio.ensure_future(keeper.run())
    while tasks.state != "ready":
        await asyncio.sleep(0.01)
    loaded = time.perf_counter() - began
    found, seconds = [], []
    for prompt in prompts:
        start = time.perf_counter()
        task, _ = await tasks.task(prompt)
        seconds.append(time.perf_counter() - start)
        found.append(task or ABSTAINED)
    (process,) = [each for each in psutil.Process().children() if "src.serve.embedding.process" in each.cmdline()]
    size = process.memory_info().rss / 1e6
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return found, seconds, size, loaded


def main() -> None:
    """Ask, count, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", choices=["minilm", "hashing"], default="minilm")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--png", type=Path, default=Path("routing.png"))
    parser.add_argument("--wrong", action="store_true", help="print each prompt that went elsewhere")
    options = parser.parse_args()
    examples = yaml.safe_load((HERE / "config/router/examples.yaml").read_text())
    truth = yaml.safe_load((HERE / "test/serve/routing/prompts.yaml").read_text())
    embedder = TypeAdapter(Embedder).validate_python({"type": options.embedder})
    threshold = {} if options.threshold is None else {"threshold": options.threshold}
    settings = Classifier(embedder=embedder, timeout=30, **threshold)
    print(f"{options.embedder}, {settings.neighbours} neighbours, threshold {settings.threshold}")
    judged_on_examples(embedder, examples)
    pairs = [(task, prompt) for task, prompts in truth.items() for prompt in prompts]
    found, seconds, size, loaded = asyncio.run(asked(settings, examples, [prompt for _, prompt in pairs]))
    columns = [*truth, ABSTAINED]
    counts = {task: dict.fromkeys(columns, 0) for task in truth}
    for (task, prompt), guess in zip(pairs, found, strict=True):
        counts[task][guess] += 1
        if options.wrong and guess != task:
            print(f"  {task} -> {guess}: {prompt}")
    print(f"\n{'truly':<12}" + "".join(f"{name:>12}" for name in columns))
    for task, row in counts.items():
        print(f"{task:<12}" + "".join(f"{row[name]:>12}" for name in columns))
    hits, whole = sum(counts[task][task] for task in truth), len(pairs)
    decided = whole - sum(row[ABSTAINED] for row in counts.values())
    for words, of in (("of all, the default counted as wrong", whole), ("of those decided", decided)):
        low, high = wilson(hits, of)
        print(f"accuracy {words}: {hits}/{of} = {hits / of:.1%} [{low:.1%}, {high:.1%}]")
    slow = sorted(seconds)[int(0.99 * len(seconds))]
    print(f"{statistics.median(seconds) * 1e3:.1f} ms a prompt (p99 {slow * 1e3:.1f}), process {size:.0f} MB, ready after {loaded:.1f} s")
    rows = [[counts[task][name] for name in columns] for task in truth] + [[0] * len(columns)]
    plot_confusion(rows, columns, options.png, title=f"Task of {whole} prompts, {options.embedder}: {hits / whole:.0%}")
    print(f"wrote {options.png}")


if __name__ == "__main__":
    main()
