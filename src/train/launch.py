"""How many processes train together, and where they find each other."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from src.core.config import Config, Cosmetic


class Launch(Config):
    """Processes that train together, each with a GPU of its own; the effective batch stays what it is."""

    processes: int = Field(default=1, ge=1)
    """Processes on each machine: as many as it has GPUs."""
    nodes: int = Field(default=1, ge=1)
    """Machines; the project's folder is on a disk that they share. Type the same command on each, with its `train.launch.node`."""
    node: Annotated[int, Field(ge=0), Cosmetic()] = 0
    """Number of this machine; 0 is the one that writes."""
    address: Annotated[str, Field(pattern=r"^[^:]+:\d+$"), Cosmetic()] = "127.0.0.1:29500"
    """HOST:PORT of machine 0, where the others find it, in a network that only you can reach; not used with one machine."""

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.node >= self.nodes:
            raise ValueError(f"node {self.node} is none of {self.nodes}: the first is 0; set nodes to {self.node + 1} or more")
        return self

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.processes * self.nodes
