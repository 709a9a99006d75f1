"""One name for each page: the same page under another spelling of its address is fetched once."""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from w3lib.url import canonicalize_url, safe_url_string

_PORTS = {"http": 80, "https": 443}
_TRACKING = re.compile(
    r"(utm_\w+|gclid|dclid|fbclid|msclkid|yclid|igshid|mc_cid|mc_eid|_ga|_gl|ref_src|wt_mc|mkt_tok|vero_id|oly_\w+_id)", re.I
)
_SESSION = re.compile(r"(phpsessid|jsessionid|aspsessionid\w*|session_?id|cfid|cftoken|osclsid|zenid)", re.I)
_SID = re.compile(r"(sid|s)=[0-9a-f]{16,}", re.I)  # `sid=17` may be a story, thirty hex digits are a session
_PATH_SESSION = re.compile(r";(jsessionid|phpsessid|sid)=[^/?;]*", re.I)
_JUNK = re.compile(r"[\x00-\x20\x7f]+")


class Address(NamedTuple):
    """A page's address."""

    url: str
    """What is asked for: as written, without tracking, session, fragment and default port."""
    key: str
    """What stands for the page: besides, the query in order; two addresses with one key are one page."""
    host: str
    """Name and, where it is not the default, port."""


@lru_cache(maxsize=1 << 16)  # a site's navigation stands on each of its pages
def address(url: str) -> Address | None:
    """Read an address; None where it is none of the web's."""
    try:
        parts = urlsplit(_JUNK.sub("", url) if not url.isprintable() else url.strip())
        host = _host(parts)
        if host is None:
            return None
        path = _PATH_SESSION.sub("", parts.path)
        if "/." in path:
            path = urlsplit(urljoin(f"http://{host}/", path)).path
        clean = safe_url_string(f"{parts.scheme.lower()}://{host}{path or '/'}{_query(parts.query)}")
        return Address(clean, canonicalize_url(clean), host)
    except (ValueError, UnicodeError):
        return None


def name_of(host: str) -> str:
    """A host's name without its port."""
    return urlsplit(f"//{host}").hostname or host


def _host(parts: SplitResult) -> str | None:
    scheme = parts.scheme.lower()
    name = (parts.hostname or "").rstrip(".")
    if scheme not in _PORTS or not name:
        return None
    if not name.isascii():
        name = name.encode("idna").decode()
    name = f"[{name}]" if ":" in name else name.lower()
    return name if parts.port in (None, _PORTS[scheme]) else f"{name}:{parts.port}"


def _query(query: str) -> str:
    kept = "&".join(each for each in query.split("&") if each and not _is_noise(each))
    return f"?{kept}" if kept else ""


def _is_noise(pair: str) -> bool:
    name = pair.partition("=")[0]
    return bool(_TRACKING.fullmatch(name) or _SESSION.fullmatch(name) or _SID.fullmatch(pair))
