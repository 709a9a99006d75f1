"""Loading pages in a headless Chromium that is already on this machine, for sites that are empty without JavaScript."""

import os
import shutil
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from src.core.errors import MlxError
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
        raise MlxError("`javascript: true` needs a Chromium, and there is none", "install one (apt install chromium), or set CHROMIUM_PATH")
    return found


def browser_settings(guard: Guard, *, timeout: float) -> dict[str, Any]:
    """Settings that have Scrapy load pages in it."""

    async def unwanted(request: Any) -> bool:
        return request.resource_type in _LEFT_OUT or not await may_load(request.url, guard)

    return {
        "PLAYWRIGHT_BROWSER_TYPE": "chromium",
        "PLAYWRIGHT_LAUNCH_OPTIONS": {
            "executable_path": chromium(),
            "headless": True,
            "args": ["--disable-gpu", "--disable-dev-shm-usage"],
        },
        "PLAYWRIGHT_DEFAULT_NAVIGATION_TIMEOUT": timeout * 1000,
        "PLAYWRIGHT_CONTEXTS": {"default": {"service_workers": "block", "accept_downloads": False}},
        "PLAYWRIGHT_ABORT_REQUEST": unwanted,
    }


async def may_load(url: str, guard: Guard) -> bool:
    """Whether each address of what a page wants to load is open to us."""
    import asyncio

    parts = urlsplit(url)
    if parts.scheme in ("data", "blob"):
        return True
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or 80)
    except OSError:
        return False
    refused = [str(place[0]) for *_, place in found if not guard.allows(str(place[0]))]
    if refused:
        guard.refuse(parts.hostname, refused[0])
    return not refused
