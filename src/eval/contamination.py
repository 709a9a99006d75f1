"""How test rows are looked for among training rows, and how many may be found there."""

from pydantic import Field

from src.core.config import Config


class Contamination(Config):
    """How test rows are looked for among training rows, and how many may be found."""

    ngram: int = Field(13, ge=5)
    """Words in a row that show that a text was copied; of shorter texts the whole, from eight words on."""
    threshold: float | None = Field(0.8, gt=0, le=1)
    """Jaccard similarity of word 3-grams from which an answer counts as learned in other words; null: not compared."""
    most: float = Field(0.1, ge=0, le=1)
    """Largest share of rows whose answer or whole exchange training has seen; above it nothing is measured."""
