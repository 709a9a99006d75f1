from src.llm.asking.questions import Questions as Asked
from src.llm.asking.task import classes_task

BASE = {
    "asked": {"type": "scripted"},
    "classes": {"good": "what one\nlikes", "bad": ""},
    "instructions": "Which is it?\n",
    "examples": [("sunny day", "good")],
    "max_chars": 9,
    "max_tokens": 4,
    "temperature": 0,
}


def Questions(*, classes, instructions, examples, **settings):
    return Asked(task=classes_task(classes, instructions, examples, structured=False), **settings)


def test_the_row_alone_is_the_last_message():
    assert Questions(**BASE).alone("rain again and again").messages == [
        {
            "role": "system",
            "content": "Which is it?\n\n- good: what one likes\n- bad\n\nAnswer with the name of one class and nothing else.",
        },
        {"role": "user", "content": "sunny day"},
        {"role": "assistant", "content": "good"},
        {"role": "user", "content": "rain agai"},
    ]


def test_what_cannot_be_sent_is_replaced():
    assert Questions(**BASE).alone("a\ud800b").messages[-1]["content"] == "a?b"


def test_a_key_stands_for_all_that_an_answer_depends_on():
    changes = [
        {},
        {"asked": {"type": "openai", "model": "m"}},
        {"classes": {"good": "", "bad": ""}},
        {"instructions": "Well?"},
        {"examples": []},
        {"max_tokens": 5},
        {"temperature": None},
        {"max_chars": 8},
    ]
    keys = [Questions(**{**BASE, **change}).key("rain again") for change in changes]
    assert len({*keys, Questions(**BASE).key("snow")}) == len(changes) + 1
    assert Questions(**BASE).key("rain again") == Questions(**BASE).key("rain agai, cut") == keys[0]
