"""Prove on this machine that a killed training goes on to the same losses: `mlx train --prove-resume K`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.core.errors import MlxError
from src.core.files import digest
from src.core.grid import grid
from src.core.manifest import Manifest
from src.core.stage import folder
from src.track.metrics import read_metrics
from src.train.interrupt import DIE_AT

if TYPE_CHECKING:
    from src.core.project import Project
    from src.train import TrainConfig

GPU_TOLERANCE = 0.02
"""Largest difference of a step's loss on a GPU, where sums are made in another order each time; on a CPU there is none."""
_MOST = 40


@dataclass(frozen=True)
class Proof:
    """The losses of an undisturbed training and of one that was killed and went on."""

    undisturbed: dict[int, float]
    resumed: dict[int, float]
    killed_at: int
    from_step: int
    """The checkpoint that it went on from; 0 for the beginning."""
    same_weights: bool
    tolerance: float

    @property
    def largest(self) -> float:
        """The largest difference of a step; infinite where a step is missing."""
        if self.undisturbed.keys() != self.resumed.keys():
            return float("inf")
        return max(abs(self.undisturbed[step] - self.resumed[step]) for step in self.undisturbed)

    @property
    def holds(self) -> bool:
        """Whether both are one training."""
        return self.largest <= self.tolerance

    def table(self) -> str:
        """Show both, step by step."""
        steps = sorted(self.undisturbed.keys() | self.resumed.keys())
        shown = steps if len(steps) <= _MOST else [step for step in steps if abs(step - self.killed_at) <= _MOST // 2]
        names = ("step", "undisturbed", "resumed", "difference", "")
        text = grid([self._row(step) for step in shown], names, right=(0, 1, 2, 3))
        left_out = f"\n({len(steps) - len(shown)} steps further away are not shown)" if len(shown) < len(steps) else ""
        return f"{text}{left_out}\n{self._verdict(len(steps))}"

    def _row(self, step: int) -> list[str]:
        one, other = self.undisturbed.get(step), self.resumed.get(step)
        difference = f"{other - one:+.2e}" if one is not None and other is not None and one != other else "0" if one == other else "–"
        what = "from this checkpoint" if step == self.from_step else "killed with -9, after it" if step == self.killed_at else ""
        return [str(step), *(repr(each) if each is not None else "–" for each in (one, other)), difference, what]

    def _verdict(self, count: int) -> str:
        weights = "the weights are the same bytes" if self.same_weights else "the weights are not the same bytes"
        if self.largest == 0:
            return f"all {count} losses are bit-equal; {weights}"
        verdict = "within" if self.holds else "OVER"
        return f"the largest difference of {count} losses is {self.largest:.2e}, {verdict} the tolerance of {self.tolerance:g}; {weights}"


def prove(project: "Project", step: int) -> Proof:
    """Train twice, in folders of their own: undisturbed, and killed after `step` and begun again.

    Raises:
        MlxError: Where `step` is too early or too late, or a training fails.
    """
    config: TrainConfig = project.section("train")  # type: ignore[assignment]
    steps = config.max_steps or 2 * step
    if not 2 <= step < steps:
        raise MlxError(
            f"--prove-resume {step}: the training of {steps} steps is killed after one of 2 to {steps - 1}", "choose another step"
        )
    save = max(1, step // 2 + step % 2)
    names = [f"{project.name}.prove-{kind}" for kind in ("undisturbed", "resumed")]
    for name in names:
        _clear(name)
    given = [f"train.max_steps={steps}", "train.track=[]"]
    if not config.input:
        given.append(f"train.input=[{folder(project.name, 'build').as_posix()}]")
    _train(project, [*given, f"name={names[0]}", f"train.save_steps={steps}"])
    _train(project, [*given, f"name={names[1]}", f"train.save_steps={save}"], die_at=step)
    work = next((folder(names[1], "train") / ".work").iterdir())
    from_step = max((int(each.parent.name.split("-")[1]) for each in work.glob("checkpoints/*/whole.json")), default=0)
    _train(project, [*given, f"name={names[1]}", f"train.save_steps={save}"])
    outputs = [folder(name, "train") for name in names]
    losses = [{int(row["step"]): row["loss"] for row in read_metrics(each / "metrics.jsonl") if "loss" in row} for each in outputs]
    made = [Manifest.read(each) for each in outputs]
    weights = [_weights(each) for each in made]
    tolerance = GPU_TOLERANCE if made[0].info.get("device") == "cuda" else 0.0
    proof = Proof(losses[0], losses[1], killed_at=step, from_step=from_step, same_weights=weights[0] == weights[1], tolerance=tolerance)
    if proof.holds:
        for name in names:
            _clear(name)
    return proof


def _train(project: "Project", overrides: list[str], die_at: int = 0) -> None:
    """Train in a process of its own, which kills itself after the step `die_at`."""
    command = [sys.executable, "-m", "src", "train", project.file.as_posix(), *project.overrides, *overrides]
    code = subprocess.run(command, env={**os.environ, DIE_AT: str(die_at)}).returncode
    if die_at and not code:
        raise MlxError(f"the training ended before its step {die_at}, after which it was to be killed", "choose an earlier step")
    if code and not die_at:
        raise MlxError(f"a training that is to be compared ended with code {code}", "its message stands above")


def _weights(manifest: Manifest) -> str:
    return digest(sorted(mark for name, mark in manifest.outputs.items() if name.endswith(".safetensors")))


def _clear(name: str) -> None:
    for place in _places(name):
        shutil.rmtree(place, ignore_errors=True)


def _places(name: str) -> Iterator[Path]:
    yield folder(name, "train").parent
    yield Path("log") / name
