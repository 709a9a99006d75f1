"""Keep a training that was left unfinished from being begun anew, unasked, because some setting changed meanwhile."""

import json
import logging
import shutil
from typing import TYPE_CHECKING, Any

from src.core.changes import changes
from src.core.config import essence
from src.core.errors import MlxError
from src.core.files import write_text
from src.core.manifest import versions
from src.core.run import Run
from src.train.checkpoints import Checkpoint, whole

if TYPE_CHECKING:
    from src.train import TrainConfig

SETTINGS = "settings.json"
_MOST = 12


def check_unfinished(config: "TrainConfig", run: Run) -> None:
    """Note what this training is made from; refuse where one made from something else has steps to lose.

    Raises:
        MlxError: With each key, input and seed that changed, unless `--force` says to begin anew.
    """
    now = _settings(config, run)
    if (run.work / SETTINGS).exists():
        _compare_versions(json.loads((run.work / SETTINGS).read_text(encoding="utf-8")), now, run.log)
        return
    if other := _other(run):
        was = json.loads((other.folder.parents[1] / SETTINGS).read_text(encoding="utf-8"))
        what = _changed(was, now)
        if not run.fresh:
            shutil.rmtree(run.work)
            raise MlxError(
                f"a training stopped after step {other.step} was made from something else:\n" + "\n".join(f"  {each}" for each in what),
                "change it back to go on from there, or begin anew with --force",
            )
        run.log.info("beginning anew: %s", "; ".join(what))
        run.log.info("the %d steps made before that stay in %s until a training here ends", other.step, other.folder.parents[1])
    write_text(run.work / SETTINGS, json.dumps(now, indent=1))


def _settings(config: "TrainConfig", run: Run) -> dict[str, Any]:
    inputs = {role: " ".join(each.fingerprint for each in found) for role, found in run.inputs.items()}
    return {"train": essence(config), "seed": run.seed, "inputs": inputs, "versions": versions()}


def _other(run: Run) -> Checkpoint | None:
    """The newest checkpoint that was made from other settings."""
    known = [each.parent for each in run.work.parent.glob(f"*/{SETTINGS}") if each.parent != run.work]
    found = [checkpoint for work in known for checkpoint in whole(work / "checkpoints")]
    return max(found, key=lambda checkpoint: checkpoint.folder.stat().st_mtime, default=None)


def _changed(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found = list(changes({"train": was["train"], "seed": was["seed"]}, {"train": now["train"], "seed": now["seed"]}))
    before = was["inputs"]
    found += [f"the content of the {role}: {before.get(role)} → {mark}" for role, mark in now["inputs"].items() if before.get(role) != mark]
    more = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
    return [*found[:_MOST], *more] or ["the files of train.model"]


def _compare_versions(was: dict[str, Any], now: dict[str, Any], log: logging.Logger) -> None:
    """Other packages compute the same thing with other roundings: no reason to stop, but to say so."""
    if found := list(changes(was["versions"], now["versions"])):
        log.warning("this goes on with other versions than it began with, so its numbers may differ slightly: %s", ", ".join(found))
