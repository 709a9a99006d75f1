"""Running one crawl in this process, once: Scrapy's reactor does not start twice."""

import logging
import multiprocessing
from typing import Any

from filelock import FileLock
from scrapy.crawler import AsyncCrawlerProcess

from src.scrape.crawl.dispatcher import Dispatcher
from src.scrape.crawl.extract import Wanted
from src.scrape.crawl.guard import Guard
from src.scrape.crawl.job import Job
from src.scrape.crawl.pool import Pool
from src.scrape.crawl.settings import settings
from src.scrape.crawl.spider import PageSpider

_PATIENCE = 60  # seconds to wait for a process whose parent was killed to end


def crawl(job: Job) -> None:
    """Fetch until nothing is left or the budget is spent."""
    source = job.source
    job.frontier.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(job.frontier.with_suffix(".lock"), timeout=_PATIENCE):
        guard = Guard(source.allow_private)
        dispatcher = Dispatcher(job)
        pool = Pool(Wanted(dispatcher.scope, source.selectors, source.comments), source.processes)
        process: Any = AsyncCrawlerProcess(settings(job, guard))
        logging.getLogger("scrapy").setLevel(logging.WARNING)  # Scrapy has just set it to DEBUG
        process.crawl(PageSpider, dispatcher=dispatcher, guard=guard, pool=pool)
        try:
            process.start(install_signal_handlers=False)
        finally:
            pool.close()
            for worker in multiprocessing.active_children():
                worker.terminate()
