"""Compares a prompt's vector with those of the examples."""

from typing import TYPE_CHECKING, Any

from src.serve.embedding.embedder import Embeds
from src.serve.routing.nearest import nearest
from src.serve.routing.settings import Examples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Compared:
    """Examples as vectors.

    Args:
        embedder: Makes them.
        examples: Prompts by task.
        neighbours: How many nearest examples of a task count.
    """

    def __init__(self, embedder: Embeds, examples: Examples, neighbours: int) -> None:
        self.neighbours = neighbours
        self.vectors = {task: embedder.embed(prompts) for task, prompts in examples.items()}

    def task(self, vector: "NDArray[np.float32]") -> dict[str, Any]:
        """The nearest task, its score and its margin."""
        best = nearest({task: (each @ vector).tolist() for task, each in self.vectors.items()}, self.neighbours)
        return {"task": best.task, "score": round(best.score, 4), "margin": round(best.margin, 4)}
