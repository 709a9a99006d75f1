"""What Scrapy takes for its download handler where pages are rendered: Playwright's, with an end to its patience."""

import asyncio
from contextlib import suppress
from typing import Any

from playwright.async_api import Error, Page
from scrapy.exceptions import DownloadCancelledError, DownloadTimeoutError, IgnoreRequest
from scrapy_playwright.handler import ScrapyPlaywrightDownloadHandler
from scrapy_playwright.page import PageMethod

_QUIET = 5000.0  # milliseconds that a loaded page may take to fall silent


class RenderingHandler(ScrapyPlaywrightDownloadHandler):  # type: ignore[misc]
    """Loads a page, lets its scripts finish, and gives it up after twice the timeout, whatever they do."""

    async def _download_request(self, request: Any, spider: Any = None) -> Any:
        pages: list[Page] = []

        async def begin(page: Page, _: Any) -> None:
            pages.append(page)

        request.meta.update(playwright_page_init_callback=begin, playwright_page_methods=[PageMethod(_settled)])
        seconds = 2 * self.config.navigation_timeout_ms / 1000
        try:
            response = await asyncio.wait_for(super()._download_request(request, spider), seconds)
        except TimeoutError:
            for page in pages:
                with suppress(Error, TimeoutError):
                    await asyncio.wait_for(page.close(), 5)
            raise DownloadTimeoutError(f"not rendered after {seconds:g} s") from None
        except Exception as error:
            if "accept_downloads" in str(error):
                raise IgnoreRequest("no page but a download") from None
            raise
        if len(response.body) > (most := self._crawler.settings.getint("DOWNLOAD_MAXSIZE")):
            raise DownloadCancelledError(f"{len(response.body):,} bytes once rendered, over {most:,}")
        return response


async def _settled(page: Page) -> None:
    """Wait until nothing has been loaded for half a second; what never falls silent is taken as it is."""
    with suppress(Error):
        await page.wait_for_load_state("networkidle", timeout=_QUIET)
