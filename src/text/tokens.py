"""How many tokens a text will be, guessed without a tokenizer."""

import re

_WORD = re.compile(r"[^\W\d_]+")
_MARKS = re.compile(r"(?:[^\w\s]|_)+")
_DIGITS = re.compile(r"\d{1,3}")
_WIDE = re.compile(r"[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_OTHER_SCRIPT = re.compile(r"[\u0370-\u10ff\u1200-\u2e7f\ua000-\uabff]")
_WORDS = "the of and to a in that it is was he for with as his i on be at by had not but you"
_COMMON = frozenset(_WORDS.split())
_ENGLISH = 0.15  # share of common words from which a text counts as English
_LONG = 6  # letters that nearly always fit one token


def estimate_tokens(text: str) -> int:
    """Guess how many tokens a vocabulary of some 128,000 makes of `text`.

    Weights of a least-squares fit, with the Llama 3 tokenizer, on 1,500 pieces of 1,500 characters from twelve books in
    English, French and German and 568 rows of chats: mean error 2.8 %, 98 % of the pieces within 10 %. The o200k
    vocabulary gives 2 % fewer tokens; one of 32,000 (Mistral 7B v0.1) gives 10 % more, at worst 27 %. Scripts other than
    Latin are counted a token a Chinese, Japanese or Korean character and half a token any other letter: not measured.
    """
    wide, other = len(_WIDE.findall(text)), len(_OTHER_SCRIPT.findall(text))
    words = _WORD.findall(_OTHER_SCRIPT.sub("", _WIDE.sub("", text)) if wide or other else text)
    common = sum(word.lower() in _COMMON for word in words)
    long = sum(max(0, len(word) - _LONG) for word in words)
    accented = 0 if text.isascii() else sum(not letter.isascii() for word in words for letter in word)
    total = 1.03 * len(words) + 0.1 * long + 0.5 * accented + 0.93 * len(_MARKS.findall(text)) + 1.4 * len(_DIGITS.findall(text))
    if common < _ENGLISH * len(words):
        total += 0.2 * len(words) + 0.15 * long
    return round(total + wide + 0.5 * other)
