"""The judge is tested before it judges, and is missing with a reason where it cannot be had."""

import random
from dataclasses import replace

import pytest

from src.core.records import Record
from src.eval.cases import Case
from src.eval.style import Style

SALT = ("reckon", "fog", "lamp", "gull", "ain't", "yonder", "mighty", "keeper", "brass", "wick", "storm", "rock", "tide", "aye", "lad")
CLERK = ("regarding", "invoice", "hereby", "department", "quarterly", "forms", "attached", "please", "approval", "budget", "policy")
PERSONA = {"author": "keeper"}


def records(words, author, documents, each=12, seed=0):
    chance = random.Random(f"{author}{seed}")
    shared = ["the", "a", "of", "and", "to", "in", "it", "was", "that", "with"]
    for document in range(documents):
        for number in range(each):
            text = " ".join(chance.choice(words if chance.random() < 0.5 else shared) for _ in range(40))
            yield Record(f"{author}{document}.txt:{number}", text, {"source": f"{author}{document}.txt", "author": author})


@pytest.fixture
def cases():
    answers = ["Aye lad, I reckon the fog was mighty thick by the rock.", "I reckon the brass lamp and the wick want trimming, lad."] * 3
    return [
        Case(f"t:{n}#1", f"t:{n}", f"t:{n}", (), [{"role": "user", "content": "Well?"}], [], {"role": "assistant", "content": text})
        for n, text in enumerate(answers)
    ]


def answers(cases):
    salty = {case.id: "Aye, the storm and the tide, mighty fog over yonder rock, I reckon." for case in cases}
    clerk = {case.id: "Please find the quarterly budget forms attached, pursuant to policy and approval." for case in cases}
    return {"base": clerk, "tuned": salty}


def test_the_judge_tells_voices_apart_and_reports_its_test(cases, evidence):
    texts = [*records(SALT, "keeper", 4), *records(CLERK, "clerk", 5)]
    finding = Style(words=20).score(evidence(cases, answers(cases), records=texts, persona=PERSONA))
    measure, delta = finding.measures
    assert [row.value for row in measure.rows["base"]] == [0.0] * 6
    assert [row.value for row in measure.rows["tuned"]] == [1.0] * 6
    assert measure.rows["base"][0].why.startswith("the judge gives it 0.")
    detail = finding.detail["style"]
    assert detail["grouped_by_source"] is True
    assert detail["folds"] == 4
    assert min(detail["accuracy"], detail["f1"], detail["roc_auc"], detail["reference"]) > 0.9
    assert detail["above_bar"]["other"] <= 0.05
    assert detail["above_bar"]["persona"] > 0.9
    assert sum(map(sum, detail["confusion"])) == sum(detail["pieces"].values())
    assert detail["documents"] == {"persona": 4, "other": 5}
    assert detail["accuracy_interval"][0] <= detail["accuracy"] <= detail["accuracy_interval"][1]
    assert detail["calibration"]["ece"] < 0.1
    assert delta.name == "style.delta"
    assert "is needed" in delta.doubt  # their common words are the same


def test_voices_that_differ_in_common_words_alone_are_told_apart_by_delta_too(cases, evidence):
    common = ["the", "a", "of", "and", "to", "in", "it", "was", "that", "with"]
    texts = []
    for author, weights in (("keeper", (9, 8, 7, 6, 5, 4, 3, 2, 1, 1)), ("clerk", (1, 1, 2, 3, 4, 5, 6, 7, 8, 9))):
        for document in range(5):
            chance = random.Random(f"{author}{document}")
            words = [*chance.choices(common, weights, k=600), *chance.choices(SALT, k=200)]
            chance.shuffle(words)
            texts.append(Record(f"{author}{document}", " ".join(words), {"source": f"{author}{document}", "author": author}))
    said = {"base": dict.fromkeys((case.id for case in cases), "that with was it that with in was that"), "tuned": {}}
    said["tuned"] = dict.fromkeys(said["base"], "the a of the and a the of to the a")
    delta = Style(words=40).score(evidence(cases, said, records=texts, persona=PERSONA)).measures[1]
    assert [row.value for row in delta.rows["tuned"]] == [1.0] * 6
    assert [row.value for row in delta.rows["base"]] == [0.0] * 6
    assert delta.rows["base"][0].why.endswith("nearer to the others")
    assert not delta.doubt


def test_voices_that_differ_in_topic_alone_are_found_out(cases, evidence):
    """The judge tells them apart, as it may; with the matter starred out, and to Delta, they are one."""
    style = ["the", "a", "of", "and", "to", "in", "it", "was", "that", "with", "for", "but"]
    texts = []
    for author, topic in (("keeper", SALT), ("clerk", CLERK)):
        for document in range(6):
            chance = random.Random(f"{author}{document}")
            own = [f"{word}{chance.choice('aeiou')}" for word in topic for _ in range(12)]
            words = " ".join(chance.choice(own if chance.random() < 0.4 else style) for _ in range(400))
            texts.append(Record(f"{author}{document}", words, {"source": f"{author}{document}", "author": author}))
    finding = Style(words=20).score(evidence(cases, answers(cases), records=texts, persona=PERSONA))
    assert finding.detail["style"]["accuracy"] > 0.9
    assert 0.4 < finding.detail["style"]["delta"]["balanced_accuracy"] < 0.6
    assert finding.detail["style"]["without_content"]["balanced_accuracy"] < 0.75  # the lengths of starred words still tell something
    assert finding.measures[1].doubt.startswith("on unseen pieces its balanced accuracy is 0.5")


def test_text_that_says_nothing_either_way_is_no_persona(cases, evidence):
    """A balanced classifier gives .5 to words it has never met: a bar of .5 would let half of all babble through."""
    said = {case.id: "zyxq vbnm plok wert hjkl dfgz qqrt" for case in cases}
    texts = [*records(SALT, "keeper", 4), *records(CLERK, "clerk", 5)]
    finding = Style(words=20).score(evidence(cases, {"tuned": said}, records=texts, persona=PERSONA))
    assert [row.value for row in finding.measures[0].rows["tuned"]] == [0.0] * 6
    assert "its bar is" in finding.measures[0].rows["tuned"][0].why


def test_the_same_seed_gives_the_same_judge(cases, evidence):
    texts = [*records(SALT, "keeper", 3), *records(CLERK, "clerk", 3)]
    found = [Style(words=20).score(evidence(cases, answers(cases), records=texts, persona=PERSONA)) for _ in range(2)]
    assert found[0] == found[1]


def test_voices_that_do_not_differ_have_no_judge(cases, evidence):
    texts = [*records(SALT, "keeper", 4), *records(SALT, "clerk", 4)]
    finding = Style(words=20).score(evidence(cases, answers(cases), records=texts, persona=PERSONA))
    assert finding.measures == []
    assert finding.missing["style.persona"].startswith("the judge tells the voices apart with a balanced accuracy of only 0.")
    assert finding.detail["style"]["balanced_accuracy"] < 0.7


def test_one_document_a_voice_is_tested_on_pieces_and_says_so(cases, evidence):
    texts = [*records(SALT, "keeper", 1, each=30), *records(CLERK, "clerk", 4)]
    finding = Style(words=20).score(evidence(cases, answers(cases), records=texts, persona=PERSONA))
    assert finding.detail["style"]["grouped_by_source"] is False
    assert len(finding.measures) == 2


@pytest.mark.parametrize(
    ("persona", "texts", "reason"),
    [
        (None, [], "the dataset was built without a persona"),
        (PERSONA, [], "only 0 pieces of text in the persona's voice"),
        (PERSONA, list(records(SALT, "keeper", 3)), "only 0 pieces of text in any other voice"),
        (PERSONA, [*records(SALT, "keeper", 3), *records(CLERK, "clerk", 1, each=3)], "only 6 pieces of text in any other voice"),
    ],
)
def test_what_is_missing_is_said(cases, evidence, persona, texts, reason):
    finding = Style(words=20).score(evidence(cases, answers(cases), records=texts, persona=persona))
    assert finding.measures == []
    assert finding.missing["style.persona"].startswith(reason)


def test_calls_short_answers_and_other_tags_are_not_judged(cases, calling, evidence):
    short = replace(cases[0], id="s#1", expected={"role": "assistant", "content": "Aye."})
    style = Style(tags=("voice",))
    assert not any(Style().is_judged(case) for case in [*calling, short])
    assert not style.is_judged(cases[0])
    assert style.is_judged(replace(cases[0], tags=("voice",)))
    finding = Style().score(evidence(calling, {"tuned": {}}, persona=PERSONA))
    assert finding.missing["style.persona"] == "no held-out turn is a plain answer of enough words"


def test_an_answer_of_no_words_is_no_persona(cases, evidence):
    texts = [*records(SALT, "keeper", 3), *records(CLERK, "clerk", 3)]
    said = {
        case.id: text
        for case, text in zip(cases, ["", "Aye.", "<tool_call>{}</tool_call>", *["Aye, the fog, I reckon, lad."] * 3], strict=True)
    }
    finding = Style(words=20).score(evidence(cases, {"tuned": said}, records=texts, persona=PERSONA))
    rows = finding.measures[0].rows["tuned"]
    assert [row.value for row in rows] == [0, 0, 0, 1, 1, 1]
    assert rows[1].why == "only 1 words"


def test_real_books_are_told_apart_by_unseen_books(shared, evidence):
    """Twain against Austen, Doyle and Franklin: each fold judges books of which it has learned nothing."""
    books = {
        "twain": ["76/76-0.txt", "74/74-0.txt", "3176/3176-0.txt", "3177/3177-0.txt"],
        "others": ["1342/1342-0.txt", "1661/1661-8.txt", "148/148.txt"],
    }
    texts = []
    for author, names in books.items():
        for name in names:
            text = (shared / "gutenberg" / name).read_text(encoding="utf-8", errors="replace")
            texts.append(Record(name, text[40_000:100_000], {"source": name, "author": author}))
    prompt = [{"role": "user", "content": "Well?"}]
    huck = "I reckon I got to light out for the Territory ahead of the rest, because Aunt Sally she's going to adopt me."
    case = Case("x#1", "x", "x", (), prompt, [], {"role": "assistant", "content": huck})
    holmes = "It is quite a three pipe problem, my dear Watson, and I beg that you will not speak to me for fifty minutes."
    said = {"base": {"x#1": holmes}, "tuned": {"x#1": huck}}
    finding = Style(samples=250).score(evidence([case], said, records=texts, persona={"author": "twain"}))
    assert finding.detail["style"]["grouped_by_source"] is True
    assert 0.7 < finding.detail["style"]["accuracy"] < 0.95  # pieces of books it knows would give .99
    assert finding.measures[0].rows["tuned"][0].value == 1.0
    assert finding.measures[0].rows["base"][0].value == 0.0
