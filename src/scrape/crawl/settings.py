"""Scrapy's settings for a crawl: what is wanted is on, everything else that its defaults open or trust is off."""

from typing import Any

from src.scrape.crawl.browser import browser_settings
from src.scrape.crawl.guard import Guard
from src.scrape.crawl.job import Job

_MIDDLEWARES = {
    "scrapy.downloadermiddlewares.downloadtimeout.DownloadTimeoutMiddleware": 350,
    "scrapy.downloadermiddlewares.defaultheaders.DefaultHeadersMiddleware": 400,
    "scrapy.downloadermiddlewares.useragent.UserAgentMiddleware": 500,
    "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware": 590,
    "scrapy.downloadermiddlewares.httpcache.HttpCacheMiddleware": 900,
}
"""No others: robots.txt, redirects and retries are the dispatcher's, where they survive a kill; proxies would go past the guard."""
_OFF: dict[str, Any] = {
    "TELNETCONSOLE_ENABLED": False,  # both execute Python for whoever connects
    "REMOTE_CONTROL_ENABLED": False,
    "EXTENSIONS_BASE": {},
    "SPIDER_MIDDLEWARES_BASE": {},
    "HTTPPROXY_ENABLED": False,
    "COOKIES_ENABLED": False,
    "REDIRECT_ENABLED": False,
    "METAREFRESH_ENABLED": False,
    "RETRY_ENABLED": False,
    "REFERER_ENABLED": False,
    "ROBOTSTXT_OBEY": False,  # the dispatcher obeys it, as RFC 9309 says: no robots.txt for an error means no crawl
    "LOG_INSTALL_ROOT_HANDLER": False,
    "STATS_DUMP": False,
    "DOWNLOAD_DELAY": 0,  # the dispatcher's turns keep the distance, over kills too
}


def settings(job: Job, guard: Guard) -> dict[str, Any]:
    """Make the settings of a crawl."""
    source = job.source
    made = _OFF | {
        "MLX_GUARD": guard,
        "TWISTED_DNS_RESOLVER": "src.scrape.crawl.guard.GuardedResolver",
        "SCHEDULER": "src.scrape.crawl.scheduler.DurableScheduler",
        "DOWNLOADER_MIDDLEWARES_BASE": _MIDDLEWARES,
        "DOWNLOAD_HANDLERS": _handlers(source.javascript),
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "DOWNLOAD_MAXSIZE": source.max_page_mb << 20,
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_TIMEOUT": source.timeout,
        "DNS_TIMEOUT": min(source.timeout, 20),
        "CONCURRENT_REQUESTS": source.connections,
        "CONCURRENT_REQUESTS_PER_DOMAIN": source.concurrency,
        "REACTOR_THREADPOOL_MAXSIZE": 20,
        "SCRAPER_SLOT_MAX_ACTIVE_SIZE": 64 << 20,  # bodies that wait for a worker
        "USER_AGENT": source.user_agent,
        "HTTPCACHE_ENABLED": True,
        "HTTPCACHE_POLICY": "scrapy.extensions.httpcache.RFC2616Policy",
        "HTTPCACHE_STORAGE": "src.scrape.crawl.cache.SqliteStorage",
        "HTTPCACHE_DIR": str(job.cache.absolute()),
    }
    return made | (browser_settings(guard, timeout=source.timeout, limit=8 * source.max_page_mb << 20) if source.javascript else {})


def _handlers(javascript: bool) -> dict[str, str | None]:
    web = "src.scrape.crawl.rendering.RenderingHandler" if javascript else None
    closed: dict[str, str | None] = dict.fromkeys(("file", "data", "ftp", "s3"))
    return closed | ({"http": web, "https": web} if web else {})
