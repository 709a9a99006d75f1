"""Where a sentence ends, one trap a line."""

import pytest

from src.text.sentences import ENDED, sentences


@pytest.mark.parametrize(
    "expected",
    [
        ["Mr. Smith met Dr. J. R. Watson at St. Paul's.", "He left."],
        ['"What?" he said.', '"No!" Tom said.', '"Go," I says.', "Then Mr. Tom cried."],
        ["“Who dah?” Jim says.", "“Me.”"],
        ["“Tom!”", "No answer.", "“What’s gone with that boy, I wonder?", "You TOM!”"],
        ['"Is it so?" the old man asked.', '"It is."'],
        ["Well... I don't know.", "But ... maybe.", "It was I.", "Then he came."],
        ['He said "Stop."', "Then he went."],
        ["See e.g. Smith (p. 5).", "It cost No. 5 dollars.", "He said no.", "She left."],
        ["1. First.", "2. Second."],
        ["What?!", "Really?!", "Yes…", "Then. . . .", "So . . . it goes."],
        ["In the U.S. Army he rose.", "At 5 p.m. he left.", "At 5 p.m.", "She came."],
        ["It was etc. and so on.", "The end."],
        ["(He knew it.)", "_She_ did not.", "[So they say.]"],
        ["It cost 3.14 dollars.", "The file is a.txt today."],
        ["Henry I. Stone came.", "It ended in 1865.", "He left."],
        ["no end here"],
    ],
)
def test_sentences(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected


def test_wide_scripts_have_no_blanks_between_sentences() -> None:
    assert sentences("我来了。你好！再见？「走。」") == ["我来了。", "你好！", "再见？", "「走。」"]


def test_nothing() -> None:
    assert sentences("  ") == []


def test_no_letter_is_lost() -> None:
    text = 'He went "up." And—well... down! J. Doe? Yes. I. e. no. "Oh!" said Mr. T. Then 5. And'
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "ended"), [("He left.", True), ('"Go!"', True), ("so:", False), ("well—", False), ("走。", True), ("and (so.)", True)]
)
def test_ended(text: str, ended: bool) -> None:
    assert bool(ENDED.search(text)) is ended
