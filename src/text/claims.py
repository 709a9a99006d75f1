"""What a text states that can be looked up: numbers, units, names and quotes, found by rules that need no model."""

import re
from datetime import date

_NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?(?!\w)")
_UNIT = re.compile(r"(?<=\d) ?(°[CF]|km/h|mp/h|m/s|kn|mm|inch|cm|hPa|%|μg/m³|wmo code)(?!\w)")
_QUOTE = re.compile(r"“([^”]{2,})”|\"([^\"]{2,})\"|„([^“”]{2,})[“”]|«([^»]{2,})»")
_WORD = re.compile(r"\w[\w'’.-]*\w|\w")
_DATE = re.compile(r"(?<!\d)(\d{4})-(\d\d)-(\d\d)(?!\d)")
_JOINED = re.compile(r"\d+(?:[-:/T]\d+)+")
_ENDS = '°.!?:;\n"“”„«»(*#-–—•|'
_NO_NAMES = frozenset(["I", "I'm", "I'll", "I've", "I'd", "I’m", "I’ll", "I’ve", "I’d", "OK", "Ok", "Mr", "Mrs", "Ms", "Dr"])


def numbers(text: str) -> list[str]:
    """Numbers as they are written."""
    return _NUMBER.findall(text)


def digits(text: str) -> list[str]:
    """Runs of digits, as in dates and times."""
    return re.findall(r"\d+", text)


def parts_of_dates(text: str) -> list[str]:
    """The numbers of which dates, times and the like are put together: 2026-11-21, 14:30."""
    return [part for joined in _JOINED.findall(text) for part in digits(joined)]


def units(text: str) -> list[str]:
    """Units that follow a number."""
    return _UNIT.findall(text)


def value(number: str) -> float:
    """What a written number comes to; a comma parts thousands."""
    return float(number.replace("−", "-").replace(",", ""))


def decimals(number: str) -> int:
    """How many places behind the point a number is written with."""
    return len(number.partition(".")[2]) if "e" not in number else 12


def quotes(text: str) -> list[str]:
    """What stands in quotation marks."""
    return [next(filter(None, found)) for found in _QUOTE.findall(text)]


def names(text: str) -> list[str]:
    """Words with a capital that begin no sentence, those side by side together: `Berlin`, `New York`."""
    found: list[str] = []
    last = -1
    for word in _WORD.finditer(text):
        start, said = word.start(), word[0]
        before = text[:start].rstrip(" \t")
        if not said[0].isupper() or said in _NO_NAMES or not before or before[-1] in _ENDS:
            continue
        beside = start - last == 1 and bool(found)
        found = [*found[:-1], f"{found[-1]} {said}"] if beside else [*found, said]
        last = word.end()
    return found


def calendar(text: str) -> set[str]:
    """English names of the months and weekdays of the ISO dates in a text, which an answer may put in words."""
    found = set()
    for year, month, day in _DATE.findall(text):
        try:
            found |= set(date(int(year), int(month), int(day)).strftime("%A %B %a %b").split())
        except ValueError:
            continue
    return found
