"""Does memory find what a question asks for: hit rate at 5 and times, the same passages from every store; 40 questions of ours."""

import argparse
import importlib.util
import json
import tempfile
import time
from pathlib import Path

from src.core.errors import MlxError
from src.serve.embedding.embedder import Hashing, MiniLM
from src.serve.memory import Memory
from src.serve.memory.bank import Bank, Found

STORES = {"numpy": None, "faiss": "faiss", "chroma": "chromadb", "qdrant": "qdrant_edge"}
DOCS = Path("../shared/data/rag_docs/memory-bank-mcp")
QUESTIONS = Path(__file__).with_name("memory_questions.jsonl")


def main() -> None:
    """Print a table of stores for each embedder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("docs", nargs="?", type=Path, default=DOCS, help="folder of markdown files that the questions are about")
    parser.add_argument("--show", action="store_true", help="show the questions whose answer was not found")
    arguments = parser.parse_args()
    questions = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    for embedder in (MiniLM(), Hashing()):
        try:
            embedder.open()
        except MlxError as error:
            print(f"{embedder.type}: left out: {error}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            measure(arguments, questions, embedder, Path(folder))


def measure(arguments: argparse.Namespace, questions: list[dict], embedder: MiniLM | Hashing, index: Path) -> None:
    """Ask every store the same questions; vectors of texts are made once, for the first."""
    print(f"\n{embedder.type}\nstore   passages  hit@1  hit@5  file@5  filled   CPU s  a question, ms (CPU)  of which store")
    expected: list[list[tuple[str, float]]] | None = None
    for store, package in STORES.items():
        if package and importlib.util.find_spec(package) is None:
            print(f"{store:<7} left out: uv sync --extra {store}")
            continue
        config = Memory.model_validate({"folder": arguments.docs, "store": {"type": store}, "embedder": embedder, "index": index})
        wall, cpu = time.perf_counter(), time.process_time()
        bank = config.open("bench")
        filled, filled_cpu = time.perf_counter() - wall, time.process_time() - cpu
        cpu = time.process_time()
        answers = [bank.search(each["question"], 5) for each in questions]
        asked = (time.process_time() - cpu) / len(questions) * 1000
        rates = [rate(questions, answers, k=1), rate(questions, answers, k=5), rate(questions, answers, k=5, whole_file=True)]
        shares = "  ".join(f"{each:5.1%}" for each in rates)
        alone = store_alone(bank, questions)
        print(f"{store:<7} {len(bank.catalogue):8}  {shares}  {filled:5.1f} s  {filled_cpu:5.1f}  {asked:20.1f}  {alone:14.2f}")
        bank.close()
        found = [[(each.chunk.source, each.score) for each in answer] for answer in answers]
        expected = expected or found
        if found != expected:
            raise SystemExit(f"{store} found other passages than the first store")
        if store == "numpy" and arguments.show:
            show(questions, answers)
    print("every store found the same passages in the same order")


def rate(questions: list[dict], answers: list[list[Found]], *, k: int, whole_file: bool = False) -> float:
    """Share of the questions whose answer is among the first `k` passages."""
    found = [hits(question, answer[:k], whole_file=whole_file) for question, answer in zip(questions, answers, strict=True)]
    return sum(found) / len(found)


def hits(question: dict, found: list[Found], *, whole_file: bool) -> bool:
    """Whether a passage found stands in the section (or file) that answers."""
    for each in found:
        places = {f"{each.chunk.file}#{heading}" for heading in each.chunk.headings}
        if whole_file and each.chunk.file in {answer.split("#")[0] for answer in question["answers"]}:
            return True
        if places & set(question["answers"]):
            return True
    return False


def store_alone(bank: Bank, questions: list[dict]) -> float:
    """Milliseconds of CPU time that the store's search takes by itself."""
    vectors = [bank.embedded.question(each["question"]) for each in questions]
    cpu = time.process_time()
    for vector in vectors:
        bank.store.search(vector, 5)
    return (time.process_time() - cpu) / len(vectors) * 1000


def show(questions: list[dict], answers: list[list[Found]]) -> None:
    """Print what was not found, and what was instead."""
    for question, found in zip(questions, answers, strict=True):
        if not hits(question, found, whole_file=False):
            print(f"  not found: {question['question']}\n    wanted {question['answers'][0]}")
            print("    got    " + "\n           ".join(each.chunk.source for each in found))


if __name__ == "__main__":
    main()
