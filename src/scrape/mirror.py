"""Files under one address, each fetched once into its place."""

from pathlib import Path

from src.core.files import atomic
from src.scrape.fetcher import Fetcher


class Mirror:
    """Files under one address."""

    def __init__(self, base_url: str, fetcher: Fetcher) -> None:
        self.base_url = base_url.rstrip("/")
        self.fetcher = fetcher

    def fetch(self, path: str, to: Path) -> None:
        """Have the file at `path` in `to`; nothing is asked for where it already lies there.

        Raises:
            NotFoundError: Where the mirror has none.
            FetchFailedError: Where it could not be had after several tries.
        """
        if to.exists():
            return
        data = self.fetcher.get(f"{self.base_url}/{path}")
        with atomic(to, "wb") as stream:
            stream.write(data)
