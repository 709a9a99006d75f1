import pytest

from src.serve.memory.chunks import chunks

TEXT = """Before any heading.

# Server
Intro.

## Start
```bash
# not a heading
run
```

Then wait.

### Ports
8000

## Stop
Ctrl-C
"""


def test_passages_stand_below_their_headings_and_a_hash_in_code_is_none():
    assert [(each.headings, each.text) for each in chunks("a.md", TEXT, 500)] == [
        ((), "Before any heading."),
        (("Server",), "Intro."),
        (("Server", "Start"), "```bash\n# not a heading\nrun\n```\n\nThen wait."),
        (("Server", "Start", "Ports"), "8000"),
        (("Server", "Stop"), "Ctrl-C"),
    ]
    assert chunks("a.md", TEXT, 500)[3].source == "a.md > Server > Start > Ports"


def test_code_stays_whole_where_prose_is_cut():
    code = "```\n" + "\n\n".join(f"line {number}" for number in range(40)) + "\n```"
    prose = "\n\n".join(f"Paragraph {number} has some words." for number in range(40))
    found = [each.text for each in chunks("a.md", f"# A\n{prose}\n\n{code}\n\nAfter.", 200)]
    assert code in found
    assert all(len(each) <= 200 for each in found if each != code)


@pytest.mark.parametrize("text", ["word " * 900, "x" * 5000, "One sentence here. " * 300, "```\n" + "code line\n" * 900, "a\n" * 3000])
def test_nothing_is_lost_and_nothing_too_long(text):
    found = chunks("a.md", text, 300)
    assert all(len(each.text) <= 300 for each in found)
    assert "".join("".join(each.text.split()) for each in found) == "".join(text.split())


def test_a_longer_fence_holds_a_shorter_one():
    text = "# A\n````md\n```\n# inner\n```\n````\n# B\nend"
    assert [each.headings for each in chunks("a.md", text, 500)] == [("A",), ("B",)]


def test_headings_go_as_deep_as_they_stand_and_back():
    text = "### deep\nx\n# top\ny\n#no heading\n## low ##\nz\n"
    assert [(each.headings, each.text) for each in chunks("a.md", text, 500)] == [
        (("deep",), "x"),
        (("top",), "y\n#no heading"),
        (("top", "low"), "z"),
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a heading", "```\n```" * 0])
def test_nothing_gives_nothing(text):
    assert chunks("a.md", text, 300) == []
