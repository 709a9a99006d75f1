"""What a person asked for is found among what an editor and its tools say."""

from src.serve.routing.said import LONGEST, first_said, last_said

ENVIRONMENT = "<environment_details>\n# Files\nsrc/fix_bug.py\n</environment_details>"


def user(*texts):
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def test_a_task_is_taken_out_of_what_the_editor_wrote_around_it():
    assert last_said([user("<task>\nName the capital of Peru\n</task>", ENVIRONMENT)]) == "Name the capital of Peru"


def test_results_of_tools_are_passed_over():
    talk = [
        user("<task>Mend it</task>", ENVIRONMENT),
        {"role": "assistant", "content": "<read_file><path>a.py</path></read_file>"},
        user("[read_file for 'a.py'] Result:", "def f(): …", ENVIRONMENT),
    ]
    assert last_said(talk) == "Mend it"
    talk += [user("[attempt_completion] Result:", "<feedback>\nNow in Rust\n</feedback>", ENVIRONMENT)]
    assert last_said(talk) == "Now in Rust"
    assert first_said(talk) == "Mend it"


def test_plain_chats_are_taken_as_they_are():
    talk = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": " Hello "}, {"role": "assistant", "content": "Hi"}]
    assert last_said(talk) == "Hello"
    assert last_said([*talk, {"role": "user", "content": "Bye"}]) == "Bye"
    assert first_said([*talk, {"role": "user", "content": "Bye"}]) == "Hello"


def test_nothing_said_is_no_text():
    assert last_said([]) == first_said([]) == ""
    assert last_said([{"role": "user", "content": None}, {"role": "user"}, {"role": "tool", "content": "42"}]) == ""
    assert last_said([user("[read_file for 'a'] Result:")]) == "[read_file for 'a'] Result:"  # there is nothing else to go by


def test_tags_that_do_not_end_hide_nothing_and_cost_nothing():
    assert last_said([user("Look: <environment_details> open")]) == "Look:"
    assert last_said([user("<task> open")]) == "<task> open"
    assert last_said([user("</task>x<task>")]) == "</task>x<task>"


def test_of_a_long_text_beginning_and_end_stay():
    found = last_said([{"role": "user", "content": "a" * 50_000 + "the question"}])
    assert len(found) <= LONGEST + 1
    assert found.startswith("aaa")
    assert found.endswith("the question")
