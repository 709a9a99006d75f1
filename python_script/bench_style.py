"""The judges of `style` on real books: how well they tell an author apart from others by books that they have not seen.

    python python_script/bench_style.py ../shared/data/gutenberg [--period FOLDER] [--out FOLDER]

GUTENBERG holds books by number (76/76-0.txt …). FOLDER holds plain texts of the same years about the same things by others, such as
Warner's Being a Boy (3127), Aldrich's The Story of a Bad Boy (1948), Parkman's The Oregon Trail (1015), Dickens's Pictures from Italy
(650), Dana's Two Years Before the Mast (2055). Writes style.json, style.md and style.png.
"""

import argparse
import json
import random
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from plots.style_judge import plot_style  # noqa: E402
from sklearn.metrics import balanced_accuracy_score  # noqa: E402
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # noqa: E402

from src.core.records import Record  # noqa: E402
from src.eval.delta import Delta  # noqa: E402
from src.eval.pieces import pieces  # noqa: E402
from src.eval.topics import distorted, likeness, nearest_pairs  # noqa: E402
from src.eval.trial import classifier, trial  # noqa: E402
from src.scrape.gutenberg_text import gutenberg_text  # noqa: E402
from src.scrape.read_text import read_text  # noqa: E402

BOOKS = {"Twain": ("76/76-0", "74/74-0", "3176/3176-0", "3177/3177-0", "3189/3189-8"), "Austen": ("1342/1342-0",)}
BOOKS |= {"Doyle": ("1661/1661-8",), "Franklin": ("148/148",)}
PARTS = 10
"""Parts in a row that an author's only book is cut into; Franklin's has no chapters in this edition."""
NEAREST = 100
LENGTHS = (15, 30, 60, 120, 300, 1000)
SEED = 7
NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+(?:[ -][A-Z][a-z]+)*")


def author_of(path):
    """Who wrote a book of the period, by its file's name: `parkman-oregon_trail.txt`."""
    return path.stem.partition("-")[0].title()


def books(gutenberg, period):
    """Texts by author and book, without what Project Gutenberg put around them."""
    files = {author: [gutenberg / f"{name}.txt" for name in names] for author, names in BOOKS.items()}
    for path in sorted(period.glob("*.txt")) if period else ():
        files.setdefault(author_of(path), []).append(path)
    return {author: {path.stem: gutenberg_text(read_text(path, max_mb=16)) for path in paths} for author, paths in files.items()}


def records(library, authors, *, in_parts=True, mask=False):
    """A record a book, or a part of an author's only one; `source` is what is held out whole."""
    for author in authors:
        for name, text in library[author].items():
            text = NAME.sub("Someone", text) if mask else text
            words = text.split()
            count = PARTS if in_parts and len(library[author]) == 1 else 1
            step = -(-len(words) // count)
            for part in range(count):
                source = f"{author}: {name}" + (f", part {part + 1}" if count > 1 else "")
                yield Record(source, " ".join(words[part * step : (part + 1) * step]), {"source": source, "author": author})


def drawn(library, persona, others, *, words=60, samples=800, **how):
    """Pieces of the persona's books and of the others'."""
    found = records(library, [persona, *others], **how)
    return pieces(found, {"author": persona}, seed=SEED, samples=samples, words=words, fewest_words=words)


def tested(cut):
    """What the test of `style` says of pieces, and the share right of each document."""
    found = trial(cut, seed=SEED, false_alarms=0.05)
    right = {}
    for piece, score in zip(cut, found.scores, strict=True):
        right.setdefault(piece.source, []).append((score >= 0) == piece.persona)
    return found.report | {"documents_right": {source: float(np.mean(each)) for source, each in sorted(right.items())}}


def by_folds(texts, truth, groups):
    """Balanced accuracy of the classifier on folds of whole groups, or of single pieces where there are none."""
    found = np.zeros(len(texts), dtype=bool)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    for learn, test in kind(5, shuffle=True, random_state=SEED).split(texts, truth, groups):
        model = classifier(SEED).fit([texts[at] for at in learn], truth[learn])
        found[test] = model.decision_function([texts[at] for at in test]) >= 0
    return float(balanced_accuracy_score(truth, found))


def shortcuts(library, persona, others):
    """What the judge could have gone by instead of the voice: each a balanced accuracy on unseen books unless it says otherwise."""
    cut = drawn(library, persona, others, in_parts=False)
    texts, truth = [each.text for each in cut], np.array([each.persona for each in cut])
    groups = [each.source for each in cut]
    kept = Delta(most=300).fit(texts, truth, groups).words
    masked = drawn(library, persona, others, in_parts=False, mask=True)
    found = {
        "whole books held out": by_folds(texts, truth, groups),
        "pieces held out, their books known (what a leak would give)": by_folds(texts, truth, None),
        "names masked": by_folds([each.text for each in masked], np.array([each.persona for each in masked]), [e.source for e in masked]),
        "all but 300 common words starred": by_folds(distorted(texts, kept), truth, groups),
        "every word starred: lengths and punctuation alone": by_folds(distorted(texts, ()), truth, groups),
    }
    names = sorted(set(groups))
    given = []
    for turn in range(5):  # as many books on either side as in truth, and both sides mixed
        mixed = random.Random(turn).sample(names, k=len(names))
        chosen = set(mixed[: len({each.source for each in cut if each.persona})])
        given.append(by_folds(texts, np.array([each in chosen for each in groups]), groups))
    return found | {"books dealt at random to both sides (chance is 0.5)": float(np.mean(given))}


def nearness(library, persona, others):
    """How near in topic the nearest of others' pieces of 500 words come: mean likeness of the 100 nearest pairs, each piece in one."""
    mine = [each for each in drawn(library, persona, others, samples=400, words=500) if each.persona]
    texts, sources = [each.text for each in mine], [each.source for each in mine]
    common = Delta().fit(texts, np.array([True] * len(texts[:-1]) + [False]), sources).words
    found = {}
    for author in others:
        cut = [each.text for each in drawn(library, persona, [author], samples=400, words=500) if not each.persona]
        near = likeness(texts, cut, common)
        found[author] = float(np.mean([near[pair] for pair in nearest_pairs(near, NEAREST)]))
    own = []
    for book in sorted(set(sources)):  # what his other books offer: as near as one can ask for
        here, there = ([text for text, each in zip(texts, sources, strict=True) if (each == book) == same] for same in (True, False))
        near = likeness(here, there, common)
        own.append(float(np.mean([near[pair] for pair in nearest_pairs(near, NEAREST * len(here) // len(texts))])))
    return found | {f"{persona}, his other books": float(np.mean(own))}


def lengths(library, persona, others):
    """Balanced accuracy of both judges by the length of a piece in words."""
    found = {}
    for words in LENGTHS:
        told = trial(drawn(library, persona, others, words=words, samples=400, in_parts=False), seed=SEED, false_alarms=0.05).report
        found[words] = {"words and letters": told["balanced_accuracy"], "Burrows' Delta": told["delta"]["balanced_accuracy"]}
    return found


def amounts(library, persona, others):
    """Balanced accuracy by how many pieces of each side there are to learn from and to be tested on."""
    found = {}
    for samples in (200, 800, 3000):
        cut = drawn(library, persona, others, samples=samples, in_parts=False)
        found[samples] = by_folds([each.text for each in cut], np.array([each.persona for each in cut]), [each.source for each in cut])
    return found


def row(name, told):
    """A line of the table."""
    low, high = told["accuracy_interval"]
    delta = told["delta"]
    return (
        f"| {name} | {told['documents']['persona']} / {told['documents']['other']} | **{told['accuracy']:.3f}** [{low:.3f}, {high:.3f}] | "
        f"{told['f1']:.3f} | {told['balanced_accuracy']:.3f} | {told['without_content']['balanced_accuracy']:.3f} | "
        f"{delta['balanced_accuracy']:.3f} | {told['matched']['accuracy']:.3f} ({told['matched']['likeness']:.2f}) | "
        f"{told['calibration']['before']['ece']:.3f} → {told['calibration']['ece']:.3f} |"
    )


def main():
    """Test the judges, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gutenberg", type=Path)
    parser.add_argument("--period", type=Path)
    parser.add_argument("--out", type=Path, default=Path("data/bench_style"))
    given = parser.parse_args()
    library = books(given.gutenberg, given.period)
    period = [author for author in library if author not in BOOKS]
    hard = period or ["Austen", "Doyle", "Franklin"]
    trials = {
        "Twain, against Austen and Doyle (other parts of them known)": tested(drawn(library, "Twain", ["Austen", "Doyle"])),
        "Twain, against Austen, Doyle and Franklin, each unseen": tested(
            drawn(library, "Twain", ["Austen", "Doyle", "Franklin"], in_parts=False)
        ),
        "Franklin by parts, against Austen and Doyle": tested(drawn(library, "Franklin", ["Austen", "Doyle"])),
        "Franklin by parts, against Twain": tested(drawn(library, "Franklin", ["Twain"])),
    }
    if period:
        name = "Twain, against his time and topics, each unseen"
        trials[name] = tested(drawn(library, "Twain", period, in_parts=False))
        everyone = [author for author in library if author != "Twain"]
        trials["Twain, against all of these, each unseen"] = tested(drawn(library, "Twain", everyone, in_parts=False))
        trials["Twain, against all of these, 120 words a piece"] = tested(drawn(library, "Twain", everyone, in_parts=False, words=120))
    found = {
        "trials": trials,
        "main": name if period else "Twain, against Austen, Doyle and Franklin, each unseen",
        "shortcuts": shortcuts(library, "Twain", hard),
        "likeness": nearness(library, "Twain", [author for author in library if author != "Twain"]),
        "lengths": lengths(library, "Twain", hard),
        "pieces of 60 words": amounts(library, "Twain", hard),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "style.json").write_text(json.dumps(found, indent=2) + "\n")
    columns = "documents | accuracy [95 %] | F1 | balanced | without content | Delta | same topic (likeness) | ECE |"
    table = [f"| 60 words a piece unless said | {columns}"]
    table += ["|---|---|---|---|---|---|---|---|---|", *(row(name, told) for name, told in trials.items())]
    for title in ("shortcuts", "likeness", "pieces of 60 words"):
        table += ["", f"| {title} | |", "|---|---|", *(f"| {name} | {value:.3f} |" for name, value in found[title].items())]
    table += ["", "| words a piece | words and letters | Delta |", "|---|---|---|"]
    table += [f"| {words} | {' | '.join(f'{each:.3f}' for each in told.values())} |" for words, told in found["lengths"].items()]
    right = trials[found["main"]]["documents_right"]
    table += ["", "| unseen document | right |", "|---|---|", *(f"| {source} | {share:.3f} |" for source, share in right.items())]
    (given.out / "style.md").write_text("\n".join(table) + "\n")
    plot_style(found, given.out / "style.png")
    print("\n".join(table))


if __name__ == "__main__":
    main()
