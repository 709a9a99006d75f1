"""A model on disk: load, LoRA, chat template, generate, made from scratch."""

import logging
import os

# before huggingface_hub is imported, which reads it once: nothing here reports to anyone
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# bitsandbytes says at import that it has no inference kernel from the hub for CPUs with AVX512-BF16; that kernel is not
# wanted here, see `load.keep_nf4_trainable`, and whoever imports transformers may import bitsandbytes
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(lambda record: "gemm_4bit_forward" not in record.getMessage())
