"""Conversations that are too long: whole turns stay or go, and what is lost has a name."""

import pytest

from src.models.conversation import Fault
from src.models.windows import parted, windows

S, U, A = ({"role": role} for role in ("system", "user", "assistant"))
C, R = {"role": "assistant", "tool_calls": [1]}, {"role": "tool"}


def shape(found):
    roles = ("".join(message["role"][0] for message in window.messages) for window in found)
    return [text + (f":{window.fault.reason}" if window.fault else "") for text, window in zip(roles, found, strict=True)]


def cut(messages, limit, policy):
    return shape(windows(messages, limit=limit, policy=policy, measure=len))


def test_exchanges_begin_where_a_user_speaks_after_an_answer():
    head, exchanges = parted([S, A, U, U, C, R, A, U, A])
    assert head == [S] and exchanges == [[A], [U, U, C, R, A], [U, A]]


@pytest.mark.parametrize(
    ("messages", "limit", "policy", "wanted"),
    [
        ([S, U, A, U, A], 3, "drop", ["suaua:too_long"]),
        ([S, U, A, U, A, U, A], 5, "split", ["suaua", "sua"]),
        ([S, U, A, U, A, U, A], 3, "split", ["sua", "sua", "sua"]),
        ([S, U, C, R, A, U, A], 3, "split", ["sua", "sta:too_long", "sua"]),
        ([S, U, C, R, A, U, A], 2, "split", ["suata:too_long", "sua:too_long"]),
        ([S, U, A, U, A, U, A], 5, "truncate", ["suaua"]),
        ([S, U, A, U, C, R, A], 3, "truncate", ["sua"]),
        ([S, U, A, U, A], 2, "truncate", ["sua:nothing_left"]),
    ],
)
def test_what_is_kept_and_what_is_lost(messages, limit, policy, wanted):
    assert cut(messages, limit, policy) == wanted


def test_nothing_is_lost_unseen():
    messages = [
        {"role": role, "n": n} for n, role in enumerate(["system", *["user", "assistant"] * 4, "user", "assistant", "tool", "assistant"])
    ]
    for limit in range(2, 14):
        found = windows(messages, limit=limit, policy="split", measure=len)
        assert sorted(message["n"] for window in found for message in window.messages if message["n"]) == list(range(1, 13))
        assert all(len(window.messages) <= limit for window in found if not window.fault)


def test_what_cannot_be_measured_does_not_fit():
    found = windows([U, A, U, A], limit=9, policy="split", measure=lambda _: Fault("template_error"))
    assert shape(found) == ["ua:too_long", "ua:too_long"]
