"""A model on disk: load, LoRA, chat template, generate, made from scratch."""
