"""Stop texts in a stream."""

import pytest

from src.models.stops import Stops


def through(texts: list[str], pieces: list[str]) -> str:
    stops, out = Stops(texts), []
    for piece in pieces:
        out.append(stops.feed(piece))
        if stops.found:
            return "".join(out)
    return "".join([*out, stops.rest()])


@pytest.mark.parametrize("cut", range(11))
def test_a_stop_ends_the_text_wherever_the_pieces_break(cut: int) -> None:
    text = "one END two"
    assert through(["END"], [text[:cut], text[cut:]]) == "one "
    assert through(["END"], list(text)) == "one "


def test_the_first_of_several_stops_counts() -> None:
    assert through(["two", "ne t"], list("one two")) == "o"


def test_the_start_of_a_stop_that_does_not_come_is_given_out_later() -> None:
    stops = Stops(["\n\nUser"])
    given = [stops.feed(piece) for piece in ("a\n", "\nUs", "ual", "\n")]
    assert given == ["a", "", "\n\nUsual", ""] and stops.rest() == "\n"


def test_without_stops_nothing_waits() -> None:
    assert Stops(()).feed("abc") == "abc"
