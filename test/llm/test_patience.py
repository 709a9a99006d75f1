import random
from datetime import UTC, datetime

import pytest

from src.llm.patience import backoff, retry_after

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:30 GMT"}, 90),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "Saturday, 21-Nov-26 12:00:05 GMT"}, 5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_what_the_server_asks_for(headers, seconds):
    assert retry_after(headers, now=NOW) == seconds


def test_pauses_grow_to_a_minute_and_differ():
    chance = random.Random(1)
    pauses = [backoff(attempt, chance) for attempt in range(12)]
    assert all(0.25 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses[:7]))
    assert all(30 <= pause <= 60 for pause in pauses[7:])
    assert len(set(pauses)) == 12
