#!/usr/bin/env bash
# Make a GPU machine ready for training and serving; safe to run again. Where there is no network and .whl/ lies here
# (bash_script/gpu_wheels), its wheels go beside the machine's own torch: then `export PYTHONPATH=/tmp/site:$PWD`.
set -euo pipefail
cd "$(dirname "$0")/.."

nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
if [ -d .whl ]; then
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .whl/*.whl
  PYTHONPATH=/tmp/site:$PWD python3 -c "import torch, trl, bitsandbytes; print(torch.__version__, trl.__version__, torch.cuda.get_device_name())"
  exit
fi
command -v uv >/dev/null || python3 -m pip install -q uv
uv sync --extra gpu
[ -f .env ] || cp .env.example .env   # HF_TOKEN for gated models goes in there
uv run mlx doctor
