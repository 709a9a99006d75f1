"""mlx: from raw text to a served, evaluated, fine-tuned model."""

__version__ = "0.1.0"

STAGES = ("scrape", "dedup", "label", "build", "train", "eval", "serve")
"""The stages in the order in which data flows, and the only list of them: each is a folder here, with a stage of the same name."""
