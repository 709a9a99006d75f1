"""The process that has a classifier: loads it as it was trained, and answers texts of many requests in common batches."""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.errors import MlxError
from src.serve.beside.answering import Refused, answering
from src.serve.beside.batches import Batches

if TYPE_CHECKING:
    from src.models.classifier import LoadedClassifier

LOG = logging.getLogger("mlx.classify")


class Classifying:
    """A classifier that answers."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Prepare; `load` loads."""
        self.settings = settings
        self.state: dict[str, Any] = {"state": "loading"}
        self.loaded: LoadedClassifier | None = None
        self.batches = Batches(self._probabilities, most=settings["max_batch"], wait=settings["max_wait"], queue=settings["queue"])

    def load(self) -> None:
        """Load the model, and use it once: what comes first is not slower than the rest."""
        from src.models.classifier import Classifier

        loaded = Classifier.of(Path(self.settings["folder"])).open(device=self.settings["device"])
        ids = loaded.encode("warm")
        if isinstance(ids, list):
            loaded.probabilities([ids])
        self.loaded = loaded
        self.state = {"state": "ready", "labels": list(loaded.labels), "max_tokens": loaded.max_tokens}

    async def run(self) -> None:
        """Load, then do batches; a model that cannot be loaded is said to be failed."""
        try:
            await asyncio.to_thread(self.load)
        except MlxError as error:
            LOG.error("%s: %s", error, error.hint)
            self.state = {"state": "failed", "why": str(error)}
            return
        LOG.info("ready: %s", ", ".join(self.state["labels"]))
        await self.batches.run()

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do one request."""
        if request["do"] == "state":
            sizes = self.batches.sizes
            return {**self.state, "waiting": self.batches.pending, "batch": sum(sizes) / len(sizes) if sizes else 0}
        if self.loaded is None:
            raise Refused("unavailable", f"the model is {self.state['state']}")
        rows = [self._row(self.loaded, number, text) for number, text in enumerate(request["texts"])]
        shares = await self.batches.ask(rows, request["within"])
        return {"labels": self.state["labels"], "probabilities": shares, "tokens": [len(row) for row in rows]}

    def _row(self, loaded: "LoadedClassifier", number: int, text: str) -> list[int]:
        found = loaded.encode(text)
        if isinstance(found, list):
            return found
        why = "the text is empty" if found.reason == "no_text" else f"the text has {found.detail}"
        raise Refused(found.reason, json.dumps({"at": number, "message": why}))

    def _probabilities(self, rows: Any) -> list[list[float]]:
        if self.loaded is None:  # `handle` lets nothing through before
            raise RuntimeError("the model is not loaded")
        found: list[list[float]] = self.loaded.probabilities(rows, batch_size=len(rows)).round(6).tolist()
        return found


async def main(path: str, settings: str) -> None:
    """Run until asked to end: `python -m src.serve.classify.process SOCKET FILE`, settings in JSON."""
    classifying = Classifying(json.loads(Path(settings).read_text()))
    await answering(Path(path), classifying.handle, classifying.run())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(main(*sys.argv[1:]))
