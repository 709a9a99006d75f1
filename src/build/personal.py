"""Personal data in a text, by kind, told by form and check digits."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-zA-Z]{2,}\b")
_PHONE = re.compile(
    r"(?<![\w.,/-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){5,12}"
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[.-]\d{3}[.-]\d{4})(?![\w-])"
)
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_IP = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")


def personal(text: str) -> Iterator[str]:
    """Yield the kinds of personal data a text holds: `email`, `phone`, `card`, `iban`, `ip`."""
    if "@" in text and _EMAIL.search(text):
        yield "email"
    if not any(letter.isdigit() for letter in text):
        return
    if _PHONE.search(text):
        yield "phone"
    if any(_luhn(match.group()) for match in _CARD.finditer(text)):
        yield "card"
    if any(_iban(match.group()) for match in _IBAN.finditer(text)):
        yield "iban"
    if any(_public(match.group()) for match in _IP.finditer(text)):
        yield "ip"


def _luhn(number: str) -> bool:
    """The check digit of cards (ISO/IEC 7812-1)."""
    digits = [int(letter) for letter in number if letter.isdigit()][::-1]
    return any(digits) and sum(digits[::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0


def _iban(number: str) -> bool:
    """The check digits of accounts (ISO 13616)."""
    plain = number.replace(" ", "")
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def _public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:
        return False
