"""The page is whole in one file, and no text of a model does anything in it."""

import re
from html.parser import HTMLParser

from src.eval.blocks import Banner, Bold, Bullets, Fold, Heading, Picture, Prose, Table, Verbatim, markdown
from src.eval.page import page

EVIL = "<script>fetch('http://x')</script><img src=x onerror=alert(1)>\" ' & </pre>"
BLOCKS = [
    Heading(EVIL, 1),
    Prose(EVIL),
    Bullets([EVIL]),
    Table(["metric", EVIL], [[EVIL, "PASS"], [Bold(EVIL), "worse"]]),
    Picture("a.png"),
    Verbatim(EVIL, EVIL),
    Heading("Figures"),
    Banner("PASS", EVIL),
    Fold(EVIL, [Verbatim("why", EVIL)]),
]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def made(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG not really")
    return page(BLOCKS, tmp_path, EVIL)


def test_every_text_is_escaped_and_nothing_is_loaded(tmp_path):
    text = made(tmp_path)
    parser = Tags()
    parser.feed(text)
    tags = [tag for tag, _ in parser.found]
    assert "script" not in tags
    assert tags.count("img") == 1
    assert not any(name.startswith("on") for _, attributes in parser.found for name in attributes)
    assert next(attributes for tag, attributes in parser.found if tag == "img")["src"].startswith("data:image/png;base64,")
    assert not re.search(r"(src|href)=\"?http", text)
    assert "default-src 'none'" in text
    assert text.count("&lt;script&gt;") == 12


def test_verdicts_are_marked(tmp_path):
    text = made(tmp_path)
    assert '<div class="banner pass"><b>PASS</b>' in text
    assert '<a href="#part-1">Figures</a>' in text
    assert '<h2 id="part-1">' in text
    assert '<td class="pass">PASS</td>' in text
    assert '<td class="worse">worse</td>' in text
    assert "<td><b>&lt;script" in text


def test_the_same_blocks_as_markdown():
    text = markdown(BLOCKS)
    assert "| **\\<script\\>" in text
    assert "![a.png](a.png)" in text
    assert "</pre>\n```" in text
