"""What is known about a book: from its RDF file, else its metadata.yaml, else the header of its text."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from src.text.language import base

_NS = {"dcterms": "http://purl.org/dc/terms/", "pgterms": "http://www.gutenberg.org/2009/pgterms/"}
_VALUE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}value"
_HEADER = re.compile(r"^(Title|Author|Language):[ \t]*(\S.*(?:\n[ \t]{2,}\S.*)*)", re.MULTILINE)
_HEADER_SIZE = 20_000
_CODES = {
    "english": "en",
    "french": "fr",
    "german": "de",
    "spanish": "es",
    "italian": "it",
    "dutch": "nl",
    "portuguese": "pt",
    "latin": "la",
}
LICENCE = "Public domain in the USA"


class _Loader(yaml.SafeLoader):
    """Safe YAML that takes the value of `!lcsh 'Boys -- Fiction'` and forgets the tag."""


_Loader.add_multi_constructor("!", lambda loader, _, node: loader.construct_scalar(node))  # type: ignore[no-untyped-call]


def gutenberg_meta(folders: Iterable[Path], number: int, text: str) -> dict[str, str]:
    """Return title, author, language and licence as far as they are stated.

    Args:
        folders: Where `pgNUMBER.rdf` or `metadata.yaml` may lie.
        number: The book's number.
        text: The text file, header included.
    """
    found = {"licence": LICENCE} | header(text)
    for name, read in ((f"pg{number}.rdf", rdf), ("metadata.yaml", metadata_yaml)):
        for file in (folder / name for folder in folders):
            if file.is_file() and (stated := read(file.read_bytes())):
                return found | stated
    return found


def rdf(data: bytes) -> dict[str, str]:
    """Read a catalogue record; empty where it is broken, or declares entities, which one by the project never does."""
    if b"<!" in data.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
        return {}
    try:
        book = ET.fromstring(data).find("pgterms:ebook", _NS)  # noqa: S314 (no declaration, so no entity, gets here)
    except ET.ParseError:
        return {}
    if book is None:
        return {}
    authors = [_flat(each.text) for each in book.iterfind("dcterms:creator/pgterms:agent/pgterms:name", _NS)]
    languages = [value.text or "" for each in book.iterfind("dcterms:language", _NS) for value in each.iter(_VALUE)]
    found = {
        "title": _flat(book.findtext("dcterms:title", "", _NS)),
        "author": "; ".join(authors),
        "language": base(languages[0]) if len(languages) == 1 else "",
        "licence": _flat(book.findtext("dcterms:rights", "", _NS)).rstrip("."),
    }
    return {key: value for key, value in found.items() if value}


def metadata_yaml(data: bytes) -> dict[str, str]:
    """Read the record that a book's repository holds; its rights are those of covers too, so they count for nothing."""
    try:
        row = yaml.load(data, _Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    if not isinstance(row, dict):
        return {}
    language = row.get("language")
    found = {
        "title": _flat(row.get("title")),
        "author": "; ".join(_agents((row.get("creator") or {}).get("author"))) if isinstance(row.get("creator"), dict) else "",
        "language": base(language) if isinstance(language, str) else "",
    }
    return {key: value for key, value in found.items() if value}


def header(text: str) -> dict[str, str]:
    """Read the `Title:`, `Author:` and `Language:` lines above the book."""
    found: dict[str, str] = {}
    for key, value in _HEADER.findall(text[:_HEADER_SIZE].replace("\r\n", "\n")):
        found.setdefault(key.lower(), _flat(value))
    if language := _CODES.get(found.pop("language", "").lower()):
        found["language"] = language
    if "author" in found:
        found["author"] = _surname_first(found["author"])
    return found


def _surname_first(author: str) -> str:
    names = author.split("(")[0].split()
    return author if "," in author or len(names) < 2 else f"{names[-1]}, {' '.join(names[:-1])}"


def _agents(found: Any) -> list[str]:
    agents = found if isinstance(found, list) else [found]
    return [_flat(each.get("agent_name")) for each in agents if isinstance(each, dict) and each.get("agent_name")]


def _flat(value: Any) -> str:
    return " ".join(str(value or "").split())
