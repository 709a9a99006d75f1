"""Cut texts into overlapping runs of words, by whose share two texts are compared."""

import re

SIZE = 5
"""Words in a shingle."""

# scripts that put no blanks between words: Thai and Lao, radicals, kana, Han, and Han beyond the first plane
_ALONE = "\u0e00-\u0eff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+")


def words(text: str) -> list[str]:
    r"""Words of a text that `src.text.normalise` went over: runs of `\w`; each sign of a script without blanks is a word."""
    return _WORD.findall(text)


def shingles(text: str, size: int = SIZE) -> list[str]:
    """All runs of `size` words, in order; a text of fewer words is one shingle, so that only its equal is like it.

    Source: Broder, "On the resemblance and containment of documents" (1997), section 2.
    """
    found = words(text)
    if len(found) < size:
        return [text]
    return [" ".join(found[start : start + size]) for start in range(len(found) - size + 1)]
