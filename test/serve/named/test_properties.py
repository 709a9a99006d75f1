"""PROPERTY: what has to hold for any input: however a stream is cut its events stay, no secret survives, calls have no order."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.core.secrets import redact
from src.eval.accepted import accepted_of, mismatch
from src.serve.access.meter import Meter
from src.serve.engines.stream import Stream
from src.serve.request import RequestError

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
TEXTS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)


def event(value):
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


@st.composite
def streams(draw):
    """The events of an answer, and their bytes cut anywhere, inside of letters too."""
    texts = draw(st.lists(TEXTS, min_size=1, max_size=6))
    events = [event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}) for text in texts]
    events += [event({"choices": [], "usage": USAGE}), b"data: [DONE]\n\n"]
    if draw(st.booleans()):
        events.insert(draw(st.integers(0, len(events) - 1)), b": keep-alive\n\n")
    data = b"".join(events)
    cuts = sorted({0, len(data), *draw(st.lists(st.integers(0, len(data)), max_size=12))})
    return texts, data, [data[start:end] for start, end in pairwise(cuts)]


class Upstream:
    """What a stream reads from."""

    def __init__(self, pieces):
        self.pieces, self.ended = list(pieces), 0

    async def more(self):
        return self.pieces.pop(0) if self.pieces else b""

    def leave(self):
        self.ended += 1


def read(pieces):
    """What a stream passes on, piece by piece."""
    upstream = Upstream(pieces[1:])
    left = []

    async def passed():
        stream = Stream(upstream, pieces[0], "m", lambda: left.append(1))
        return [piece async for piece in stream]

    try:
        return asyncio.run(passed())
    finally:
        assert (upstream.ended, left) == (1, [1]), "it is ended once, whatever comes"


@settings(max_examples=150, deadline=None)
@given(streams())
def test_any_cut_of_a_stream_is_the_same_events(cut):
    texts, data, pieces = cut
    passed = read(pieces)
    assert b"".join(passed) == data and all(piece.endswith(b"\n\n") for piece in passed)
    meter = Meter(stream=True, told=False, keep=True)
    told = b"".join([meter.feed(piece) for piece in passed]) + meter.end()
    assert meter.usage == (7, 3) and meter.text == "".join(texts)
    assert told == data.replace(event({"choices": [], "usage": USAGE}), b""), "only the usage is taken out, which nobody asked for"


@settings(max_examples=150, deadline=None)
@given(streams(), st.data())
def test_any_stream_that_breaks_off_ends_with_whole_events_and_an_error(cut, data):
    whole = cut[1].removesuffix(b"data: [DONE]\n\n")
    end = data.draw(st.integers(1, len(whole)))
    at = data.draw(st.integers(1, end))
    pieces = [each for each in (whole[:at], whole[at:end]) if each]
    upstream, found = Upstream(pieces[1:]), []

    async def passed():
        async for piece in Stream(upstream, pieces[0], "m", lambda: None):
            found.append(piece)

    with pytest.raises(RequestError, match="ended before its end"):
        asyncio.run(passed())
    assert whole.startswith(b"".join(found)) and all(piece.endswith(b"\n\n") for piece in found)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.text(alphabet="abcXYZ019-_+/=.$^()[]{}|\\", min_size=8, max_size=40))
def test_no_secret_survives_wherever_it_stands(before, after, secret):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANARY_API_KEY", secret)
        assert secret.strip() not in redact(f"{before}{secret}{after}")


CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["lamp", "horn"]),
            "arguments": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 2) | st.sampled_from(["x", "y"]), max_size=2),
        }
    ),
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(CALLS, st.randoms(use_true_random=False))
def test_calls_are_right_in_any_order_and_one_that_is_another_is_told(calls, chance):
    accepted, made = [accepted_of(call) for call in calls], chance.sample(calls, len(calls))
    assert mismatch(accepted, made, []) == ""
    if made:
        assert mismatch(accepted, made[1:], []).startswith("count:")
        assert mismatch(accepted, [{**made[0], "name": "other"}, *made[1:]], []) != ""
