"""Every request finds a route, the same one each time, and is told why."""

import asyncio
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from src.serve.gateway.decision import Decision
from src.serve.request import CHAT, Call, RequestError
from src.serve.routing.choose import chain, picked, place
from src.serve.routing.pattern import Pattern
from src.serve.routing.router import Router
from src.serve.routing.settings import Routes, Rule

MODELS = ("fast", "coder", "analyst", "vision")


class Scripted:
    """Knows the task of some prompts."""

    def __init__(self, **known):
        self.known = known

    async def task(self, prompt):
        return (self.known[prompt], f"task {self.known[prompt]}") if prompt in self.known else (None, "no example near (0.10)")


def routes(**more):
    return Routes.model_validate({"name": "router", "default": "fast", **more})


def decide(asked, known=None, chance=lambda: 0.5, **more):
    return asyncio.run(Router(MODELS, routes(**more), known, chance).route(asked))


@dataclass
class Facts:
    """A request's facts, without the request."""

    model: str = "router"
    prompt: str = "Hello"
    tokens: int = 0
    tools: bool = False
    images: bool = False
    headers: dict = field(default_factory=dict)
    role: str | None = None
    user: str = ""
    opening: str = ""


def asked(prompt="Hello", **more):
    return Facts(prompt=prompt, **more)


def test_a_model_that_is_named_answers_whatever_the_rules_say():
    found = decide(Facts(model="analyst", prompt="x", tools=True), rules=[{"to": "coder", "tools": True}], fallback={"analyst": ["fast"]})
    assert found == Decision(("analyst", "fast"), "explicit")


def test_a_model_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(RequestError) as error:
        decide(Facts(model="gpt-9"))
    assert error.value.status == 404
    assert "'router', 'fast', 'coder'" in str(error.value)


def test_without_routes_models_go_by_their_names():
    router = Router(["own"])
    assert asyncio.run(router.route(Facts(model="own"))).to == ("own",)
    with pytest.raises(RequestError):
        asyncio.run(router.route(Facts(model="router")))


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ({"regex": r"(?i)\btraceback\b"}, {"prompt": "a Traceback here"}, {"prompt": "tracebacks"}),
        ({"keyword": ["c++", "unit test"]}, {"prompt": "In C++, please"}, {"prompt": "c+ and units tested"}),
        ({"tools": True}, {"tools": True}, {"tools": False}),
        ({"tools": False}, {"tools": False}, {"tools": True}),
        ({"images": True}, {"images": True}, {"images": False}),
        ({"longer_than": 100}, {"tokens": 101}, {"tokens": 100}),
        ({"shorter_than": 100}, {"tokens": 99}, {"tokens": 100}),
        ({"header": {"X-Task": "code"}}, {"headers": {"x-task": "code"}}, {"headers": {"x-task": "chat"}}),
        ({"header": {"x-task": "*"}}, {"headers": {"x-task": ""}}, {"headers": {}}),
        ({"role": ["admin"]}, {"role": "admin"}, {"role": None}),
        ({"tools": True, "longer_than": 10}, {"tools": True, "tokens": 11}, {"tools": True, "tokens": 9}),
    ],
)
def test_a_rule_holds_where_all_its_conditions_do(rule, yes, no):
    rules = [{"to": "coder", **rule}]
    assert decide(asked(**yes), rules=rules) == Decision(
        ("coder",), f"rule 1: {', '.join(key for key in Rule.model_fields if key in rule)}"
    )
    assert decide(asked(**no), rules=rules) == Decision(("fast",), "default")


def test_the_first_rule_that_holds_decides():
    rules = [{"to": "vision", "images": True}, {"to": "coder", "tools": True}]
    assert decide(asked(images=True, tools=True), rules=rules).to == ("vision",)
    assert decide(asked(tools=True), rules=rules).why == "rule 2: tools"


def test_examples_come_after_rules_and_before_the_default():
    tasks = Scripted(Fix="coding", Sum="analyst")
    more = {"rules": [{"to": "vision", "images": True}], "tasks": {"coding": "coder"}}
    assert decide(asked("Fix"), tasks, **more) == Decision(("coder",), "task coding")
    assert decide(asked("Sum"), tasks, **more).to == ("analyst",)
    assert decide(asked("Fix", images=True), tasks, **more).to == ("vision",)
    assert decide(asked("Hm"), tasks, **more) == Decision(("fast",), "default; no example near (0.10)")


def test_weights_divide_conversations_and_keep_each_with_its_model():
    share = {"default": {"fast": 3, "coder": 1}}
    found = [decide(asked(opening=f"Question {n}", user="ann"), **share) for n in range(1200)]
    assert 0.21 < sum(each.to == ("coder",) for each in found) / len(found) < 0.29
    one = decide(asked("Turn 1", opening="Same", user="ann"), **share)
    assert all(decide(asked(f"Turn {n}", opening="Same", user="ann"), **share) == one for n in range(50))
    assert one.why in ("default; weight 0.75", "default; weight 0.25")


def test_weights_that_are_not_sticky_go_by_chance():
    share = {"default": {"fast": 1, "coder": 1}, "sticky": False}
    assert decide(asked(opening="x"), chance=lambda: 0.1, **share).to == ("fast",)
    assert decide(asked(opening="x"), chance=lambda: 0.9, **share).to == ("coder",)


def test_a_shadow_gets_its_share():
    more = {"shadow": {"fast": {"to": "coder", "share": 0.3}}}
    assert decide(asked(), chance=lambda: 0.29, **more).shadow == "coder"
    assert decide(asked(), chance=lambda: 0.31, **more).shadow is None


def test_fallbacks_are_tried_once_each_however_they_point_at_each_other():
    assert chain("a", {"a": ["b", "c", "b"], "b": ["a", "d"], "d": ["b"]}) == ("a", "b", "c", "d")


def test_the_header_says_who_answered_and_who_did_not():
    assert Decision(("coder", "fast"), "rule 1: tools").header("coder") == "coder; rule 1: tools"
    assert Decision(("coder", "fast"), "rule 1: tools").header("fast") == "fast; rule 1: tools; not coder"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"default": "fasst"}, "default: there is no model 'fasst'; did you mean 'fast'"),
        ({"rules": [{"to": {"coder": 1, "x": 1}, "tools": True}]}, "rule 1: there is no model 'x'"),
        ({"fallback": {"coder": ["y"]}}, "fallback.coder"),
        ({"shadow": {"coder": {"to": "z"}}}, "shadow.coder"),
        ({"tasks": {"coding": "w"}}, "tasks.coding"),
        ({"name": "coder"}, "is the name of a model too"),
    ],
)
def test_routes_to_models_that_are_not_there_are_told(more, words):
    with pytest.raises(ValueError, match=words):
        Router(MODELS, routes(**more))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"to": "coder"}, "without a condition"),
        ({"to": "coder", "regex": "("}, "unclosed group"),
        ({"to": "coder", "regex": "(?=a)"}, "look-around"),
        ({"to": "coder", "regex": "a" * 1001}, "1000 characters"),
        ({"to": "coder", "regex": "(?:a{1,1000}){1,1000}"}, "size limit"),
        ({"to": {}, "tools": True}, "to"),
        ({"to": {"coder": 0}, "tools": True}, "to"),
    ],
)
def test_rules_that_mean_nothing_are_errors(rule, words):
    with pytest.raises(ValidationError, match=words):
        Rule.model_validate(rule)


def test_no_text_makes_a_regex_slow():
    evil = Pattern(r"^(a+)+$")
    start = time.process_time()
    assert not evil.found_in("a" * 19_000 + "!")
    assert time.process_time() - start < 0.5  # a backtracking engine takes longer than the universe


def test_of_a_long_text_both_ends_are_looked_at():
    needle = Pattern("needle")
    assert needle.found_in("needle" + " " * 100_000)
    assert needle.found_in(" " * 100_000 + "needle")
    assert not needle.found_in(" " * 50_000 + "needle" + " " * 50_000)


def call(body):
    """A call whose fields nobody checked."""
    made = Call(CHAT, None, {**body, "model": str(body["model"])}, headers=[(b"X-Task", b"\xff")])
    assert made.visit is None
    return made


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "type", "tool_calls", "messages"]) | st.text(max_size=8), inner, max_size=4
        )
    ),
    max_leaves=12,
)
message = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]) | values, "content": values}) | values


@settings(max_examples=300, deadline=None)
@given(
    body=st.dictionaries(st.sampled_from(["model", "messages", "tools", "tool_choice", "prompt", "input"]), values, max_size=5),
    messages=st.lists(message, max_size=5) | values,
)
def test_every_request_finds_a_route_or_404(body, messages):
    rules = [
        {"to": "vision", "images": True},
        {"to": "coder", "keyword": ["fix"]},
        {"to": "analyst", "longer_than": 40},
        {"to": {"coder": 1, "fast": 2}, "regex": "[aeiou]", "shorter_than": 20},
    ]
    router = Router(MODELS, routes(rules=rules, shadow={"fast": {"to": "coder"}}))
    found = asyncio.run(router.decide(call({**body, "model": "router", "messages": messages})))
    assert set(found.to) <= set(MODELS)
    assert found.header(found.to[0]).isascii()
    assert "\n" not in found.why
    try:
        asyncio.run(router.decide(call({"model": "", **body, "messages": messages})))
    except RequestError as error:
        assert error.status == 404


@given(st.lists(st.text(max_size=5), max_size=3))
def test_a_place_is_between_zero_and_one_and_stays(keys):
    assert 0 <= place(*keys) < 1
    assert place(*keys) == place(*keys)


@given(st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 100), min_size=1), st.floats(0, 1))
def test_one_of_the_weighted_models_is_picked(target, at):
    assert picked(target, at) in target
