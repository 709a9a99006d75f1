"""mlx: from raw text to a served, evaluated, fine-tuned model."""

__version__ = "0.1.0"
