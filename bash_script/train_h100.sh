#!/usr/bin/env bash
# Train a project on one H100: plan first, then everything up to the evaluation; the same command goes on after a stop.
#   bash_script/train_h100.sh config/main.yaml train.lora.r=32
set -euo pipefail
cd "$(dirname "$0")/.."
config=${1:-config/main.yaml}
shift || true

# memory in segments that grow: less of it is lost between sequences of many lengths
export PYTORCH_CUDA_ALLOC_CONF=${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}
export TOKENIZERS_PARALLELISM=false
uv run mlx run "$config" "$@" --until build
uv run mlx plan "$config" "$@" --gpu h100   # ends here where nothing fits
exec uv run mlx run "$config" "$@" train.micro_batch=auto
