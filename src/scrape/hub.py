"""Opening a data set of the Hugging Face Hub, or of a folder, as a stream of rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from src.core.errors import MlxError
from src.core.ledger import Drop

_SCRIPTS = ("Dataset scripts are no longer supported", "trust_remote_code")


class Shards:
    """A split in the parts that it is stored in."""

    def __init__(self, path: str, *, config: str | None, split: str, revision: str | None, limit: int | None) -> None:
        self.path = path
        self.limit = limit
        with _explained(path):
            self.data = _opened(path, config, split, revision)
        self.count = 1 if limit else max(1, int(getattr(self.data, "num_shards", 1)))

    def rows(self, number: int) -> Iterator[Mapping[str, Any] | Drop]:
        """Yield the rows of part `number`; a drop where the stream breaks off."""
        data = self.data if self.count == 1 else self.data.shard(num_shards=self.count, index=number)
        read = 0
        try:
            for row in islice(data, self.limit):
                read += 1
                yield row
        except (OSError, ValueError, RuntimeError) as error:
            yield Drop(f"{self.path}:{read + 1}", "truncated", f"after {read:,} rows: {_line(error)}")


def _opened(path: str, config: str | None, split: str, revision: str | None) -> Any:
    from datasets import load_dataset, load_from_disk

    if (Path(path) / "state.json").exists():
        return load_from_disk(path).to_iterable_dataset()
    if (Path(path) / "dataset_dict.json").exists():
        return load_from_disk(path)[split].to_iterable_dataset()
    return load_dataset(path, config, split=split, revision=revision, streaming=True)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Say what is wrong in words, and what to do."""
    from datasets.exceptions import DatasetNotFoundError

    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        said = str(error)
        if "gated" in said:
            raise MlxError(
                f"{path} is gated: its owner gives access on request", "ask on its page, then put HF_TOKEN=… into .env"
            ) from None
        if any(word in said for word in _SCRIPTS):
            raise MlxError(f"{path} is made by code of its own, which is not run", "take a version of it with data files") from None
        if isinstance(error, DatasetNotFoundError | FileNotFoundError):
            raise MlxError(f"there is no data set {path}: {_line(error)}", "check the id; a private one needs HF_TOKEN in .env") from None
        if isinstance(error, ConnectionError | TimeoutError) or "offline" in said.lower():
            raise MlxError(f"{path} cannot be reached: {_line(error)}", "check the network, or set `folder` to its files") from None
        raise MlxError(f"{path} cannot be opened: {_line(error)}", "check `config`, `split` and `revision`") from None


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
