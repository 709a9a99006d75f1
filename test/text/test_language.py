import pytest

from src.text.language import base, detect, samples

ENGLISH = "It was the best of times, it was the worst of times, and nobody knew which of them it would turn out to be. "
FRENCH = "Tout est pour le mieux dans le meilleur des mondes possibles, disait Pangloss à son élève devant le château. "


@pytest.mark.parametrize(
    ("text", "code"), [(ENGLISH, "en"), (FRENCH, "fr"), ("Als Gregor Samsa eines Morgens erwachte, fand er sich verwandelt.", "de")]
)
def test_a_sentence_is_enough(text: str, code: str) -> None:
    found, score = detect(text)
    assert found == code
    assert 0.7 < score <= 1


def test_a_foreign_preface_does_not_decide() -> None:
    assert detect(FRENCH * 20 + ENGLISH * 100)[0] == "en"


def test_half_and_half_is_unsure() -> None:
    assert detect(ENGLISH * 50 + FRENCH * 50)[1] < 0.7


@pytest.mark.parametrize("text", ["", "  \n", "123 456 — 7", "$$$"])
def test_no_letters_no_language(text: str) -> None:
    assert detect(text) == ("und", 0.0)


def test_what_is_looked_at_is_bounded() -> None:
    spans = samples(ENGLISH * 100_000)
    assert len(spans) == 5
    assert max(map(len, spans)) <= 400
    assert detect("x" * 3_000_000)[1] <= 1


def test_tags_fold_to_codes() -> None:
    assert {base(tag) for tag in ("en", "en-US", "en_GB", " EN ")} == {"en"}
