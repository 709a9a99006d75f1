"""Loading pages in a headless Chromium that is already on this machine, for sites that are empty without JavaScript."""

import os
import shutil
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from src.core.errors import MlxError
from src.scrape.crawl.gate import Gate
from src.scrape.crawl.guard import Guard

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_LEFT_OUT = {"image", "media", "font", "websocket", "eventsource", "manifest"}  # what no text comes from


def chromium() -> str:
    """The path of a Chromium.

    Raises:
        MlxError: Where there is none, or the package that drives it is missing.
    """
    if find_spec("scrapy_playwright") is None:
        raise MlxError("`javascript: true` needs the package scrapy-playwright", "uv sync --extra browser")
    found = os.environ.get("CHROMIUM_PATH") or next(filter(None, map(shutil.which, _NAMES)), None)
    if not found or not os.access(found, os.X_OK):
        raise MlxError("`javascript: true` needs a Chromium, and there is none", "apt-get install chromium, or set CHROMIUM_PATH to one")
    return found


def browser_settings(guard: Guard, *, timeout: float, limit: int) -> dict[str, Any]:
    """Settings that have Scrapy load pages in it; everything that they load comes through a gate.

    Args:
        guard: Says where connections may go.
        timeout: Seconds for a page to load.
        limit: Bytes that one connection may bring.
    """
    return {
        "PLAYWRIGHT_BROWSER_TYPE": "chromium",
        "PLAYWRIGHT_LAUNCH_OPTIONS": {
            "executable_path": chromium(),
            "headless": True,
            "chromium_sandbox": os.geteuid() != 0 if hasattr(os, "geteuid") else True,  # Chromium has none for root
            "proxy": Gate(guard, timeout=timeout, limit=limit).open(),
            "args": [
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-quic",
                "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
                "--webrtc-ip-handling-policy=disable_non_proxied_udp",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # names are looked up by the gate alone
            ],
        },
        "PLAYWRIGHT_DEFAULT_NAVIGATION_TIMEOUT": timeout * 1000,
        "PLAYWRIGHT_CONTEXTS": {"default": {"service_workers": "block", "accept_downloads": False}},
        "PLAYWRIGHT_ABORT_REQUEST": unwanted,
    }


def unwanted(request: Any) -> bool:
    """Whether no text comes from what a page wants to load, or it is none of the web's."""
    return request.resource_type in _LEFT_OUT or urlsplit(request.url).scheme not in ("http", "https", "data", "blob")
