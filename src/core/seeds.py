"""One seed for everything random."""

import random
import sys


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's generators, the latter two where they are already imported."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def derive(seed: int, *labels: object) -> int:
    """A seed of its own for each set of labels, so that one part's draws never shift another's."""
    import hashlib

    text = "\x1f".join(map(str, (seed, *labels)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
