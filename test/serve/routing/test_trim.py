"""What is left out of a conversation leaves one: system and last turn stay, calls keep their results."""

from hypothesis import given, settings
from hypothesis import strategies as st

from src.serve.routing.trim import cuts, left


def talk(letters):
    """s system, u user, a assistant, c assistant with a call, t tool."""
    roles = {"s": "system", "u": "user", "a": "assistant", "c": "assistant", "t": "tool"}
    return [{"role": roles[each], **({"tool_calls": [1]} if each == "c" else {})} for each in letters]


def kept(letters, pieces):
    return "".join(letters[place] for place in left(talk(letters), cuts(talk(letters))[:pieces]))


def test_the_oldest_exchanges_go_first():
    assert [kept("suauaua", n) for n in range(4)] == ["suauaua", "suaua", "sua", "sua"]
    assert kept("suauau", 9) == "su"


def test_calls_go_with_their_results():
    assert cuts(talk("suctau")) == [[1, 2, 3, 4]]
    assert [kept("suctctcta", n) for n in range(4)] == ["suctctcta", "suctcta", "sucta", "sua"]
    assert [kept("suctcttct", n) for n in (1, 2, 3)] == ["sucttct", "suct", "suct"]  # of several results none stays alone


def test_a_system_message_in_the_middle_stays():
    assert kept("uasuau", 9) == "su"


def test_without_a_user_the_last_message_stays():
    assert kept("saa", 9) == "sa"
    assert cuts([]) == []


@settings(max_examples=300)
@given(st.text("suact", max_size=12))
def test_system_and_last_turn_stay_and_no_result_loses_its_call(letters):
    pieces = cuts(talk(letters))
    assert sorted(place for piece in pieces for place in piece) == sorted({place for piece in pieces for place in piece})
    last = letters.rfind("u")
    for n in range(len(pieces) + 1):
        places = left(talk(letters), pieces[:n])
        assert all(place in places for place, each in enumerate(letters) if each == "s")
        assert last < 0 or last in places
        for place in places:  # a result directly after its call (or another result) before is so after
            if letters[place] == "t" and place and letters[place - 1] in "ct":
                assert place - 1 in places
