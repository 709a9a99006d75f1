"""The crawling process: `python -m src.scrape.crawl job.json`, started by the `web` source; ends with its parent."""

import logging
import os
import sys
import threading
from pathlib import Path


def main() -> None:
    """Crawl what the job file says; progress goes to stdout as JSON lines, the log to stderr."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from src.scrape.crawl.crawl import crawl
    from src.scrape.crawl.job import Job

    crawl(Job.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8")))


def _end_with_parent() -> None:
    """End at once when the parent's end of stdin closes, as it does however the parent ends."""
    while os.read(0, 1024):
        pass
    os._exit(3)


if __name__ == "__main__":
    main()
