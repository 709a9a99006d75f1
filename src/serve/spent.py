"""Recognises the words by which engines say that memory did not suffice."""

import re

_SPENT = re.compile(
    r"out of memory|OutOfMemory|(?:cannot|can't|unable to) allocate|more (?:system )?memory|insufficient memory|signal 9\b", re.I
)
"""Of CUDA, torch, llama.cpp, Ollama, and of a process that the system ended."""


def spent(words: str) -> bool:
    """Whether an engine says that its model takes more memory than there is."""
    return bool(_SPENT.search(words))
