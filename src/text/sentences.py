"""Where sentences end, so that no text is ever cut inside one: abbreviations, quotations, dialogue and ellipses are understood."""

import re

_TITLES = "mr mrs ms messrs dr prof rev hon gen col capt lieut lt sgt maj adm gov sen rep st ste mt mme mlle mm hr fr herr supt esq mons"
_MIDDLE = "e.g i.e viz cf vs z.b d.h u.a bzw vgl ca approx dept vol vols no nos nr p pp fig figs ch chap sec art op ed eds trans"
_BEFORE_CAPITAL = frozenset(_TITLES.split())
_BEFORE_ANYTHING = frozenset(_MIDDLE.split())
_NUMBERED = ("no", "p", "art", "ed", "sec", "op", "ch")  # words of their own but before a number
_CLOSERS = "\"'”’»›)\\]*_"
_OPENERS = "\"'“‘«‹(\\[*_—–¿¡-"
_END = re.compile(rf"(?:[.!?…]+(?:\s+\.)*[{_CLOSERS}]*(?=\s)|[。！？]+[」』”’]*)")
_WORD_BEFORE = re.compile(r"(?<!\w)((?:\w+\.)*\w+)$")
_NEXT = re.compile(rf"\s*[{_OPENERS}]*\s*(\w?)")
_TAG = re.compile(
    r"\s+(?:[A-Z][\w’']*\.?\s+|(?:the|my|his|her|old|young|poor|little)\s+\w+\s+){0,3}"
    r"(?:sa(?:id|ys)|asked|asks|cried|replied|answered|exclaimed|shouted|whispered|muttered|returned|observed|remarked|added|continued|"
    r"inquired|murmured|screamed|sobbed|responded|demanded|thought)\b"
)
ENDED = re.compile(rf"(?:[.!?…][{_CLOSERS}]*|[。！？][」』”’]*)$")
"""Matches a text that ends as a sentence does."""


def sentences(paragraph: str) -> list[str]:
    """Split a paragraph into its sentences; joined by blanks they give the paragraph, its white space folded around them.

    In doubt two sentences stay together: a cut in the wrong place harms, a missing one does not.
    """
    found = []
    start = 0
    for match in _END.finditer(paragraph):
        if _ends(paragraph, start, match):
            found.append(paragraph[start : match.end()].strip())
            start = match.end()
    found.append(paragraph[start:].strip())
    return [sentence for sentence in found if sentence]


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether the sentence that began at `start` ends with these marks."""
    marks = match[0]
    if marks[0] in "。！？":
        return True
    after = _NEXT.match(text, match.end())
    following = after[1] if after else ""
    if following.islower() or (len(marks.strip()) > 2 and following == "I" and marks.startswith(("..", "…", ". "))):
        return False
    if marks[0] == "." and not marks.startswith(("..", ". ")) and _abbreviated(text[start : match.start()], following, marks):
        return False
    quoted = marks[-1] in "\"'”’»"
    return not (quoted and _TAG.match(text, match.end()))


def _abbreviated(before: str, following: str, marks: str) -> bool:
    """Whether the full stop after `before` only marks a shortened word, or the number of a list."""
    found = _WORD_BEFORE.search(before)
    if not found or len(marks) > 1:
        return False
    word = found[1]
    if word.lower() in _BEFORE_CAPITAL:
        return True
    if word.lower() in _BEFORE_ANYTHING:
        return word.lower() not in _NUMBERED or following.isdigit()
    if "." in word and word.isupper():  # U.S. Army
        return True
    if len(word) == 1 and word.isalpha() and word.isupper():  # J. Smith, but: it was I. Then
        return word != "I" or bool(re.search(r"[A-Z]\w*\.?\s+I$", before))
    return word.isdigit() and not before[: found.start()].strip(" " + _OPENERS)
