"""Checks the address of a server where the config is read."""

from urllib.parse import urlsplit


def http_url(text: str) -> str:
    """Fail on what is no address of a server, or holds a password; drop the last slash."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is no address such as http://127.0.0.1:8000")
    if parts.query or parts.fragment or any(letter.isspace() or not letter.isprintable() for letter in text):
        raise ValueError("an address of a server has no ?query, no #fragment and no space in it; keys come from the environment")
    if parts.username or parts.password:
        raise ValueError("holds a password: it comes from the environment")
    return text.rstrip("/")
