"""Masking what tells a person: e-mail addresses, phone numbers, IP addresses, card numbers, IBANs. Nothing of them is kept."""

import ipaddress
import re
from collections.abc import Callable, Collection
from typing import Literal

Kind = Literal["email", "iban", "card", "ip", "phone"]
KINDS: tuple[Kind, ...] = ("email", "iban", "card", "ip", "phone")

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}(?:@|\s?[\[(]at[\])]\s?)(?:[\w-]{1,63}(?:\.|\s?[\[(]dot[\])]\s?)){1,8}[A-Za-z]{2,24}(?![\w@])",
    re.IGNORECASE,
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Z]{2})\d{2}(?:[ -]?[A-Z0-9]){11,34}")
_IBAN_LENGTHS = {
    "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FR": 27, "GB": 22,
    "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IS": 26, "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18,
    "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TR": 26, "AE": 23, "IL": 23, "BR": 29,
}  # fmt: skip
_CARD = re.compile(r"(?<![\w.,/-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5})(?![\w]|[.,/-]\d)")
_CARD_START = re.compile(r"4|5[1-5]|2[2-7]|3[4-8]|30|6011|64[4-9]|65|62")
_IPV4 = re.compile(r"(?<![\w.:/-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w-]|\.\w)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?:::)?(?![\w:])")
_VERSION = re.compile(r"(?:\bv|version|ver\.?|release|build|firmware|driver|section|chapter|clause|§|\bno\.)\s*$", re.IGNORECASE)
_PHONES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<![\w+])(?:\+|\(\+)[1-9](?:[ .\-/()]{0,2}\d){7,14}(?![\w]|[.,]\d)",
        r"(?<!\d )(?<![\w.,+/-])00[1-9]\d{0,2}[ /-]\(?\d(?:[ ./()-]{0,2}\d){6,11}(?![\w]|[.,]\d)",
        r"(?<!\d )(?<![\w.,+/-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}(?![\w]|[ .,/-]?\d)",
        r"(?<!\d )(?<![\w.,+/:-])(?:\(0[1-9]\d{0,4}\) ?|0[1-9]\d{0,4}[ /-])\d{2,8}(?:[ -]\d{2,8}){0,3}(?![\w]|[ .,/:-]?\d)",
        r"\b(?:tel|phone|mobile|cell|fax|call|whatsapp|telefon|handy|tél)\w{0,6}[.:#]*\s*(?:\d[ ./()-]{0,2}){6,14}\d(?![\w]|[.,]\d)",
    )
)
_NO_PHONE = re.compile(
    r"\D*(?:(?:19|20)\d\d[-./ ]\d\d?[-./ ]\d\d?|\d\d?[-./ ]\d\d?[-./ ](?:19|20)\d\d|(?:1[5-9]|20)\d\d ?[-/] ?(?:1[5-9]|20)\d\d)\b",
    re.IGNORECASE,
)
_NAMED = re.compile(r"(?:ISBN|ISSN|DOI|EAN|order|invoice|article|item|ticket|#)\S{0,4}[ :#]{0,2}$", re.IGNORECASE)
_WORD_BEFORE = re.compile(r"^\D*?(?=[\d+(])")


def mask(text: str, kinds: Collection[str] = KINDS) -> tuple[str, dict[str, int]]:
    """Put `[EMAIL]`, `[PHONE]`, … where such a thing stands; the same things give the same mask, so none can be told back.

    Returns:
        The text, and how many of each kind were masked.
    """
    found: dict[str, int] = {}
    for kind in KINDS:
        if kind in kinds:
            text, count = _MASKERS[kind](text)
            if count:
                found[kind] = count
    return text, found


def _masker(
    kind: str, patterns: tuple[re.Pattern[str], ...], end: Callable[[re.Match[str]], int], may_hold: Callable[[str], object]
) -> Callable[[str], tuple[str, int]]:
    label = f"[{kind.upper()}]"

    def masked(text: str) -> tuple[str, int]:
        if not may_hold(text):
            return text, 0
        total = 0
        for pattern in patterns:
            parts, at = [], 0
            for match in pattern.finditer(text):
                stop = end(match)
                if stop and match.start() >= at:
                    start = match.start() + _lead(kind, match[0])
                    parts += [text[at:start], label]
                    at = stop
                    total += 1
            text = "".join([*parts, text[at:]]) if parts else text
        return text, total

    return masked


def _lead(kind: str, found: str) -> int:
    """Letters before a number, such as `tel.: `, which stay."""
    before = _WORD_BEFORE.match(found) if kind == "phone" else None
    return before.end() if before else 0


def _whole(match: re.Match[str]) -> int:
    return match.end()


def _iban(match: re.Match[str]) -> int:
    """Where the IBAN that begins here ends; what follows it may look like more of it."""
    text = match[0]
    places = [at for at, sign in enumerate(text) if sign.isalnum()]
    length = _IBAN_LENGTHS.get(match[1], len(places))
    if not 15 <= length <= min(34, len(places)):
        return 0
    end = places[length - 1] + 1
    compact = "".join(text[at] for at in places[:length])
    number = "".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])
    return match.start() + end if int(number) % 97 == 1 and not text[end : end + 1].isalnum() else 0


def _card(match: re.Match[str]) -> int:
    digits = [int(sign) for sign in match[0] if sign.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits)))
    known = 13 <= len(digits) <= 19 and _CARD_START.match("".join(map(str, digits)))
    return match.end() if known and sum(doubled) % 10 == 0 and len(set(digits)) > 1 else 0


def _ip(match: re.Match[str]) -> int:
    try:
        ip = ipaddress.ip_address(match[0])
    except ValueError:
        return 0
    version = "." in match[0] and _VERSION.search(match.string, max(0, match.start() - 12), match.start())
    few = ip.version == 6 and len([part for part in match[0].split(":") if part]) < 3
    return 0 if version or few or ip.is_loopback or ip.is_unspecified else match.end()


def _phone(match: re.Match[str]) -> int:
    digits = sum(sign.isdigit() for sign in match[0])
    named = _NAMED.search(match.string, max(0, match.start() - 12), match.start())
    fewest = 7 if match[0][0].isalpha() else 9 if match[0].lstrip("(")[0] != "+" else 8
    return match.end() if fewest <= digits <= 15 and not named and not _NO_PHONE.match(match[0]) else 0


# cheap tests that every match of the patterns passes, and most texts do not
_AT = re.compile(r"[\[(]at[\])]", re.IGNORECASE)
_CARD_DIGITS = re.compile(r"\d(?:[ -]?\d){12}")
_PHONE_DIGITS = re.compile(r"\d(?:[ ./()-]{0,2}\d){6}")


def _may_hold_email(text: str) -> object:
    return "@" in text or (("(" in text or "[" in text) and _AT.search(text))


def _may_hold_ip(text: str) -> bool:
    return text.count(".") > 2 or text.count(":") > 1


_MASKERS = {
    "email": _masker("email", (_EMAIL,), _whole, _may_hold_email),
    "iban": _masker("iban", (_IBAN,), _iban, re.compile(r"[A-Z]{2}\d{2}").search),
    "card": _masker("card", (_CARD,), _card, _CARD_DIGITS.search),
    "ip": _masker("ip", (_IPV4, _IPV6), _ip, _may_hold_ip),
    "phone": _masker("phone", _PHONES, _phone, _PHONE_DIGITS.search),
}
