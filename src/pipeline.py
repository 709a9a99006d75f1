"""The pipeline: every stage in the order in which data flows; what is fresh, what is stale and why; a row's life."""

STAGES = ("scrape", "dedup", "label", "build", "train", "eval", "serve")
"""The only list of stages: each is a folder of `src` with a stage of the same name."""
