from pathlib import Path

import pytest

from src.core.errors import ConfigError, MlxError
from src.core.manifest import Manifest
from src.core.records import Record
from src.scrape import document, scrape
from src.scrape.judge import Judge

ENGLISH = "The quick brown fox jumps over the lazy dog, and nobody in the village ever learned why it did so.\n"
FRENCH = "Le renard brun saute par-dessus le chien paresseux, et personne dans le village ne sait pourquoi.\n"


def test_records_say_where_they_came_from_and_in_which_language(project) -> None:
    Path("notes").mkdir()
    Path("notes/a.txt").write_text(ENGLISH)
    Path("notes/b.txt").write_text(FRENCH)
    done = project({"type": "files", "path": "notes", "meta": {"licence": "MIT"}})
    assert done.records == [
        Record("notes/a.txt", ENGLISH.strip(), {"source": "notes/a.txt", "licence": "MIT", "language": "en"}),
        Record("notes/b.txt", FRENCH.strip(), {"source": "notes/b.txt", "licence": "MIT", "language": "fr"}),
    ]
    assert done.manifest.info == {"words": 36, "languages": {"en": 1, "fr": 1}}


def test_other_languages_and_short_texts_are_dropped_with_their_reason(project) -> None:
    Path("a.txt").write_text(ENGLISH)
    Path("b.txt").write_text(FRENCH)
    Path("c.txt").write_text("Too short.")
    done = project({"type": "files", "path": "*.txt"}, languages=["en"], min_words=3)
    assert [record.id for record in done.records] == ["a.txt"]
    assert done.reasons == [("b.txt", "language"), ("c.txt", "too_short")]
    assert done.drops[0]["detail"].startswith("fr 0.9")
    assert done.drops[1]["detail"] == "2 words, fewer than 3"


def test_an_id_counts_once_over_all_sources(project) -> None:
    Path("a.txt").write_text(ENGLISH)
    done = project({"type": "files", "path": "a.txt"}, {"type": "files", "path": "*.txt"})
    assert len(done.records) == 1
    assert done.reasons == [("a.txt", "duplicate_id")]


def test_the_same_input_gives_the_same_bytes(project) -> None:
    for name in "ba":
        Path(f"{name}.txt").write_text(ENGLISH)
    first = project({"type": "files", "path": "*.txt"}).manifest
    Path("data/t/scrape/manifest.json").unlink()
    again = project({"type": "files", "path": "*.txt"}).manifest
    assert first.outputs == again.outputs


def test_finished_files_are_not_read_again_after_a_kill(project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        Path(f"{name}.txt").write_text(f"{name} {ENGLISH}")
    read: list[str] = []
    real = document.read_text

    def dying(path: Path, *, max_mb: int) -> object:
        if path.name == "b.txt" and "b.txt" not in read:
            read.append(path.name)
            raise KeyboardInterrupt
        read.append(path.name)
        return real(path, max_mb=max_mb)

    monkeypatch.setattr(document, "read_text", dying)
    with pytest.raises(KeyboardInterrupt):
        project({"type": "files", "path": "*.txt"})
    assert Manifest.find(Path("data/t/scrape")) is None
    done = project({"type": "files", "path": "*.txt"})
    assert read == ["a.txt", "b.txt", "b.txt", "c.txt"]
    assert [record.id for record in done.records] == ["a.txt", "b.txt", "c.txt"]


def test_a_changed_file_makes_the_output_stale(project) -> None:
    Path("a.txt").write_text(ENGLISH)
    source = {"type": "files", "path": "."}
    first = project(source | {"path": "*.txt"}).manifest
    assert project(source | {"path": "*.txt"}).manifest.created == first.created
    Path("b.txt").write_text(ENGLISH)
    assert len(project(source | {"path": "*.txt"}).records) == 2


def test_nothing_to_keep_is_an_error_that_says_why(project) -> None:
    Path("rows.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(MlxError, match=r"nothing to keep in 1 source\(s\): no_text 1"):
        project({"type": "files", "path": "rows.jsonl"})
    Path("empty").mkdir()
    with pytest.raises(MlxError, match="the sources are empty"):
        project({"type": "files", "path": "empty"})


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("{sources: []}", "at least 1 item"),
        ("{sources: [{type: filez, path: .}]}", "no type 'filez'; did you mean 'files'?"),
        ("{sources: [{path: .}]}", "says no `type`"),
        ("{sources: [{type: files, path: away}]}", "'away' is not there"),
        ("{sources: [{type: files, path: 'away/*.txt'}]}", "'away/*.txt' matches no file"),
        ("{sources: [{type: files, path: ., texts: a}]}", "did you mean 'text'?"),
        ("{sources: [{type: files, path: .}], languages: [English]}", "should match pattern"),
        ("{sources: [{type: gutenberg}]}", "name the books by `ids`"),
        ("{sources: [{type: gutenberg, ids: [76], base_url: 'https://www.gutenberg.org/files'}]}", "human readers only"),
        ("{sources: [{type: gutenberg, ids: [76], base_url: mirror}]}", "is no address"),
        ("{sources: [{type: gutenberg, ids: [0]}]}", "greater than 0"),
    ],
)
def test_a_wrong_config_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, fault: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text(f"name: t\nscrape: {section}\n")
    with pytest.raises(ConfigError) as error:
        scrape.load("t.yaml")
    assert fault in str(error.value)
    assert "t.yaml:2" in str(error.value)


def judged(text: str, *, languages: tuple[str, ...] = (), **meta: str) -> object:
    judge = Judge(languages, confidence=0.7, min_words=1)
    (found,) = judge.judged([Record("x", text, meta)])
    return found


def test_what_is_detected_stands_over_what_is_stated() -> None:
    assert judged(FRENCH, language="en").meta["language"] == "fr"
    assert judged(ENGLISH, language="en-GB").meta["language"] == "en"


def test_where_detection_is_unsure_the_statement_stands() -> None:
    assert judged("12 345", language="EN").meta["language"] == "en"
    assert "language" not in judged("12 345").meta
    assert "language" not in judged("12 345", language="unknown!").meta
    assert judged("12 345", languages=("en",)).text == "12 345"
    assert judged("12 345", languages=("en",), language="fr").detail == "fr as stated"


def test_lone_surrogates_do_not_reach_the_table(project) -> None:
    Path("rows.jsonl").write_text('{"text": "half \\ud83d of a face"}\n')
    assert project({"type": "files", "path": "rows.jsonl"}).records[0].text == "half � of a face"
