"""A model on disk: load, LoRA, chat template, generate, made from scratch."""

import os

# before huggingface_hub is imported, which reads it once: nothing here reports to anyone
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
