"""Run by a Python that has llama-cpp-python: tokens of texts, and logits of token ids, as llama.cpp has them.

Usage: python llama_probe.py FILE.gguf < {"texts": […], "ids": […]} > {"tokens": […], "log_probs": […], "next": […]}
"""

import json
import sys

import numpy as np
from llama_cpp import Llama

asked = json.load(sys.stdin)
model = Llama(sys.argv[1], n_ctx=1024, n_batch=1024, logits_all=True, n_threads=1, verbose=False)
tokens = [model.tokenize(text.encode(), add_bos=False, special=True) for text in asked["texts"]]
log_probs, following = [], []
for ids in asked["ids"]:
    model.reset()
    model.eval(ids)
    logits = np.array(model.scores[: len(ids)], dtype=np.float64)
    logits -= logits.max(-1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    log_probs.append([float(logs[at, token]) for at, token in enumerate(ids[1:])])
    following.append(int(logs[-1].argmax()))
json.dump({"tokens": tokens, "log_probs": log_probs, "next": following}, sys.stdout)
