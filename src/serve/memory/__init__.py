"""What a project knows about itself: markdown files that are searched, and quoted to the model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from src.core.config import Config, FromEnv
from src.serve.embedding.embedder import Embedder, MiniLM
from src.store import Store
from src.store.chroma import Chroma

if TYPE_CHECKING:
    from src.core.sealing import Seal
    from src.serve.embedding.embedder import Embeds
    from src.serve.memory.bank import Bank


class Memory(Config):
    """A folder of markdown files, among them Cline's six, that answers draw on."""

    folder: Path = Path("memory_bank")
    """The markdown files; those in folders below count too, hidden ones and links do not."""
    store: Store = Chroma()
    """Where their vectors lie: `chroma`, `faiss`, `qdrant`, `arango`, or `numpy`, which needs no extra."""
    embedder: Embedder = MiniLM()
    """What makes vectors of texts: `minilm`, or `hashing`, which needs no extra and knows words, not meanings."""
    index: Annotated[Path | None, FromEnv("VECTOR_STORE_PATH")] = None
    """Folder for the vectors; data/NAME/memory if unset. Nothing in it is needed: it is made again from the files."""
    key_env: str = "MLX_MEMORY_KEY"
    """Environment variable with a key (`mlx token secret` makes one): with it added notes and vectors lie sealed on the disk."""
    chunk_chars: int = Field(default=1000, ge=200, le=20000)
    """Longest passage in characters; a block of code stays whole up to four times that."""
    max_file_mb: float = Field(default=2.0, gt=0, le=100)
    """Larger files are left out, with a warning."""
    max_note_kb: float = Field(default=64, gt=0, le=10_000)
    """Longest text that one request may add."""
    tokens: int = Field(default=2000, ge=100)
    """Most tokens that go into one prompt, core files included; fewer where the model has no room for them."""
    passages: int = Field(default=5, ge=0, le=50)
    """How many passages are looked for, besides the core files."""
    models: tuple[str, ...] | None = None
    """Models whose answers draw on it, by the name that clients use; all if unset."""
    roles: tuple[str, ...] | None = None
    """Roles whose answers draw on it; all if unset."""
    deadline: float = Field(default=1.5, gt=0, le=60)
    """Seconds after which an answer does without it, and says so."""
    watch: float = Field(default=5.0, gt=0)
    """Seconds between two looks at the files."""

    def seal(self) -> "Seal | None":
        """What notes and vectors are sealed with, where there is a key.

        Raises:
            MlxError: Where it is weak.
        """
        from src.core.sealing import MEMORY, Seal
        from src.serve.access.strength import strong

        secret = os.environ.get(self.key_env, "").strip()
        return Seal(strong(secret, self.key_env), MEMORY) if secret else None

    def open(self, project: str, embedder: "Embeds | None" = None) -> "Bank":
        """Read the files and bring the vectors of `project` up to date, by an embedder of its own if there is none.

        Raises:
            StoreError: Where the store cannot be had: go on without memory.
            MlxError: Where the folder or a package is missing.
        """
        from src.serve.memory.bank import Bank

        return Bank(self, project, self.index or Path("data") / project / "memory", embedder)
