"""mlx: from raw text to a served, evaluated, fine-tuned model."""

import os

# threads that wait for each other sleep: spinning, they took ten times as long beside another busy process, and won nothing alone
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

STAGES = ("scrape", "dedup", "label", "build", "train", "eval", "serve")
"""The stages in the order in which data flows, and the only list of them: each is a folder here, with a stage of the same name."""
