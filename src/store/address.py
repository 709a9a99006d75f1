"""Checks the address of a store's server where the config is read."""

from urllib.parse import urlsplit


def server(address: str) -> str:
    """Fail on what is no address of a server; drop the last slash."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{address!r} is no address such as http://127.0.0.1:6333")
    if parts.username or parts.password:
        raise ValueError("holds a password: it comes from the environment")
    return address.rstrip("/")
