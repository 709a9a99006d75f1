import csv
import json
import sys
import types
from pathlib import Path

import pytest
import zstandard

from src.core.errors import ConfigError, MlxError
from src.scrape.reddit_row import Wanted, reddit_row

POST = {
    "id": "7b0y34", "title": "Tom &amp; Jerry &lt;3", "selftext": "A long text &amp;#x200B; follows.", "subreddit": "Cats",
    "permalink": "/r/Cats/comments/7b0y34/tom/", "url": "https://elsewhere.example", "score": "12", "over_18": False,
    "created_utc": 1510000000, "author": "jane",
}  # fmt: skip
COMMENT = {
    "id": "dpe1",
    "body": "It is what a cat would do.",
    "link_id": "t3_7b0y34",
    "subreddit": "Cats",
    "score": 3,
    "author": "[deleted]",
}


def one(row: dict, **wanted):
    return reddit_row("dump:1", row, Wanted(**wanted))


def test_a_submission() -> None:
    found = one(POST, authors=True, meta={"licence": "x"})
    assert found.id == "reddit:t3_7b0y34"
    assert found.text == "Tom & Jerry <3\n\nA long text  follows."
    assert found.meta == {
        "source": "reddit:t3_7b0y34", "url": "https://www.reddit.com/r/Cats/comments/7b0y34/tom/", "title": "Tom & Jerry <3",
        "author": "jane", "subreddit": "Cats", "kind": "submission", "created": "2017-11-06T20:26:40+00:00", "score": 12, "licence": "x",
    }  # fmt: skip
    assert "author" not in one(POST).meta


def test_a_comment_belongs_to_its_thread() -> None:
    found = one(COMMENT)
    assert (found.id, found.text, found.meta["source"], found.meta["kind"]) == (
        "reddit:t1_dpe1", "It is what a cat would do.", "reddit:t3_7b0y34", "comment"
    )  # fmt: skip
    assert one({**COMMENT, "title": "Comment"}).meta["kind"] == "comment"


@pytest.mark.parametrize(
    ("row", "wanted", "reason"),
    [
        (COMMENT | {"body": "[deleted]"}, {}, "deleted"),
        (COMMENT | {"body": "[removed]"}, {}, "removed"),
        (POST | {"title": "[deleted by user]", "selftext": ""}, {}, "deleted"),
        (POST | {"title": "", "selftext": "", "removed_by_category": "moderator"}, {}, "removed"),
        (POST | {"over_18": "True"}, {}, "nsfw"),
        (POST, {"kinds": "comments"}, "kind"),
        (COMMENT, {"kinds": "submissions"}, "kind"),
        (POST, {"subreddits": frozenset(["dogs"])}, "subreddit"),
        (POST, {"min_score": 13}, "low_score"),
        (POST | {"score": None}, {"min_score": 1}, "low_score"),
        ({"id": "x", "score": 3}, {}, "no_text"),
        (COMMENT | {"body": 7}, {}, "no_text"),
    ],
)
def test_every_reason_to_drop_a_row(row, wanted, reason) -> None:
    assert one(row, **wanted).reason == reason


def test_odd_rows() -> None:
    assert one(POST | {"selftext": "[removed]"}).text == "Tom & Jerry <3"
    assert one(POST | {"over_18": 1}, nsfw=True).meta["nsfw"] is True
    assert one(POST, subreddits=frozenset(["cats"])).text
    assert one(COMMENT | {"id": None, "created": "2020-01-01 10:00", "full_link": "https://r/x"}).id == "dump:1"
    assert one(POST | {"id": "t3_7b0y34"}).id == "reddit:t3_7b0y34"
    assert one(POST | {"created_utc": 1e300}).meta.get("created") is None


def test_dumps_of_every_kind_are_the_same_records(project) -> None:
    Path("d").mkdir()
    rows = [POST, COMMENT]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    Path("d/RS_2017-11.zst").write_bytes(zstandard.ZstdCompressor().compress(lines))
    found = {}
    listing = {"kind": "Listing", "data": {"children": [{"kind": "t3", "data": POST}, {"kind": "t1", "data": COMMENT}, "x"]}}
    Path("l.json").write_text(json.dumps(listing))
    Path("a.json").write_text(json.dumps(rows))
    with Path("c.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, sorted({*POST, *COMMENT}))
        writer.writeheader()
        writer.writerows(rows)
    for path in ("d", "l.json", "a.json", "c.csv"):
        done = project({"type": "reddit", "path": path})
        found[path] = [(record.id, record.text) for record in done.records]
    assert found["d"] == found["l.json"] == found["a.json"] == found["c.csv"]
    assert [name for name, _ in found["d"]] == ["reddit:t3_7b0y34", "reddit:t1_dpe1"]


def test_a_long_window_is_read(project) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    lines = "".join(json.dumps(COMMENT | {"id": f"c{number}", "body": f"Comment number {number} here."}) + "\n" for number in range(2000))
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    Path("RC.zst").write_bytes(compressor.compress(lines.encode()) + compressor.flush())
    assert len(project({"type": "reddit", "path": "RC.zst"}).records) == 2000


def test_other_files_are_dropped(project) -> None:
    Path("d").mkdir()
    Path("d/README.md").write_text("x")
    Path("d/a.ndjson").write_text(json.dumps(POST) + "\n{\n")
    done = project({"type": "reddit", "path": "d"})
    assert done.reasons == [("d/README.md", "unsupported"), ("d/a.ndjson:2", "bad_json")]


def test_real_posts(project, shared) -> None:
    source = {"type": "reddit", "path": str(shared / "reddit/*.json")}
    done = project(source)
    assert len(done.records) == 1948
    assert {reason for _, reason in done.reasons} == {"duplicate_id", "nsfw"}
    assert not any("&amp;" in record.text for record in done.records)
    again = project(source | {"nsfw": True, "min_score": 100, "subreddits": ["TheOnion"]})
    assert {record.meta["subreddit"] for record in again.records} == {"TheOnion"}


@pytest.mark.parametrize("source", [{}, {"path": ".", "praw": {"subreddits": ["a"]}}])
def test_it_needs_dumps_or_praw(project, source) -> None:
    with pytest.raises(ConfigError, match="either a `path` of dumps or `praw`"):
        project({"type": "reddit"} | source)


class Forest(list):
    def replace_more(self, limit: int) -> None:
        assert limit == 0

    def list(self) -> list:
        return list(self)


@pytest.fixture
def praw(monkeypatch: pytest.MonkeyPatch) -> dict:
    """A stand-in for praw, with one subreddit."""
    asked: dict = {}

    class RefusedError(Exception):
        pass

    def thing(row: dict, **more):
        return types.SimpleNamespace(**{key: value for key, value in row.items() if key != "subreddit"}, subreddit=row["subreddit"], **more)

    class Reddit:
        def __init__(self, **keys: object) -> None:
            asked["keys"] = keys

        def subreddit(self, name: str):
            def top(**settings: object):
                asked[name] = settings
                if name == "private":
                    raise RefusedError("403")
                comments = Forest([thing(COMMENT), thing(COMMENT | {"id": "dpe2"})])
                return [thing(POST | {"author": None}, comments=comments)]

            return types.SimpleNamespace(top=top, new=top)

    monkeypatch.setitem(sys.modules, "praw", types.SimpleNamespace(Reddit=Reddit))
    monkeypatch.setitem(sys.modules, "prawcore", types.ModuleType("prawcore"))
    monkeypatch.setitem(sys.modules, "prawcore.exceptions", types.SimpleNamespace(PrawcoreException=RefusedError))
    for key in ("CLIENT_ID", "CLIENT_SECRET", "USER_AGENT"):
        monkeypatch.setenv(f"REDDIT_{key}", f"my {key}")
    return asked


def test_live(project, praw) -> None:
    done = project({"type": "reddit", "praw": {"subreddits": ["r/Cats"], "limit": 5, "comments": 1}})
    assert [record.id for record in done.records] == ["reddit:t3_7b0y34", "reddit:t1_dpe1"]
    assert praw["Cats"] == {"limit": 5, "time_filter": "all"}
    assert praw["keys"]["client_secret"] == "my CLIENT_SECRET"
    assert "CLIENT_SECRET" not in Path("data/t/scrape/manifest.json").read_text()


def test_live_without_comments_and_other_listings(project, praw) -> None:
    assert len(project({"type": "reddit", "praw": {"subreddits": ["Cats"], "listing": "new"}}).records) == 1
    assert praw["Cats"] == {"limit": 100}


def test_live_troubles_are_errors_to_mend(project, praw, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MlxError, match="r/private cannot be read: 403"):
        project({"type": "reddit", "praw": {"subreddits": ["private"]}})
    monkeypatch.delenv("REDDIT_CLIENT_ID")
    with pytest.raises(MlxError, match="REDDIT_CLIENT_ID is not set"):
        project({"type": "reddit", "praw": {"subreddits": ["Cats"]}})
    monkeypatch.setitem(sys.modules, "praw", None)
    with pytest.raises(MlxError, match="praw is not installed"):
        project({"type": "reddit", "praw": {"subreddits": ["Cats"]}})


def test_the_real_praw_is_made_with_our_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("praw")
    from src.scrape.reddit_live import _session

    for key in ("CLIENT_ID", "CLIENT_SECRET", "USER_AGENT"):
        monkeypatch.setenv(f"REDDIT_{key}", "x")
    assert _session()[0].read_only
