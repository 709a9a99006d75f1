"""A model on disk as the evaluation needs it: its tokens at once, its weights only once something has to be asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from src.core.files import digest
from src.core.manifest import Manifest
from src.models.generate import stop_ids
from src.models.load import Loaded, load_tokenizer
from src.models.size import context
from src.models.trained import Trained

VERSION = 1
"""Goes up when the way of asking changes, so that answers are asked for anew."""


class Weights:
    """The model of one training, with or without its adapter."""

    def __init__(self, trained: Trained, *, is_base: bool = False) -> None:
        self.trained = trained
        self.is_base = is_base
        self._loaded: Loaded | None = None

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer and chat template."""
        return load_tokenizer(self.trained.tokenizer)

    @cached_property
    def context(self) -> int:
        """How many tokens it can attend to."""
        return context(self.path) or 2**31

    @property
    def path(self) -> str:
        """The folder or hub id of its weights, without an adapter."""
        return self.trained.base_path if self.is_base else self.trained.model

    @cached_property
    def mark(self) -> str:
        """Stands for all of the model that its answers depend on."""
        trained = self.trained
        made = Manifest.find(trained.folder)
        tuned = "" if self.is_base else made.fingerprint if made else trained.folder.as_posix()
        base = trained.base_fingerprint or trained.base
        return digest([VERSION, base, tuned, trained.template, trained.quantization, trained.dtype])

    @cached_property
    def stops(self) -> frozenset[int]:
        """Tokens that end a turn."""
        from transformers import GenerationConfig

        try:
            settings = GenerationConfig.from_pretrained(self.path)
        except OSError:
            settings = None
        return stop_ids(SimpleNamespace(generation_config=settings), self.tokenizer)

    @contextmanager
    def open(self, other: "Weights | None" = None) -> Iterator[Loaded]:
        """The model, loaded; a base is the tuned model `other` of the same training with its adapter off, where that can be."""
        if self.is_base and self.trained.adapter and other is not None:
            with other.open() as loaded, loaded.model.disable_adapter():
                yield loaded
            return
        if self._loaded is None:
            self._loaded = self.trained.load_base() if self.is_base else self.trained.load()
        yield self._loaded
