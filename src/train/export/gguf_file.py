"""Writes a model's weights as GGUF one by one, and reads the file back to see that they are there."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType
from gguf.quants import dequantize, quant_shape_to_byte_shape, quantize
from safetensors import safe_open

from src.core.errors import MlxError
from src.models.load import load_tokenizer
from src.train.export.families import Array, Shape
from src.train.export.vocabulary import write_vocabulary

TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
ERROR = {
    GGMLQuantizationType.F32: 0.0,
    GGMLQuantizationType.F16: 2**-11,
    GGMLQuantizationType.BF16: 2**-8,
    GGMLQuantizationType.Q8_0: 1 / 254 + 2**-11,
}
"""How far a weight may be off, as a share of the largest in its matrix."""
BLOCK = 32  # weights that share a scale in Q8_0
LARGEST_F16 = 65504.0


def write_gguf(model: Path, file: Path, *, name: str, kind: str) -> int:
    """Write the model in the folder `model` to `file`, and check it; return how many weights it has.

    Raises:
        MlxError: Where llama.cpp would compute something else, or a weight is not what it was.
    """
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    shape = Shape(config)
    main, file_type = TYPES[kind]
    writer = GGUFWriter(file, shape.name)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(int(file_type))
    writer.add_quantization_version(2)
    shape.describe(writer)
    write_vocabulary(writer, load_tokenizer(model), config["vocab_size"])
    kinds = {weight: _kind(main, size) for weight, size in _sizes(model)}
    for weight, size in _sizes(model):
        _announce(writer, shape.tensor_name(weight), size, kinds[weight])
    factors = shape.factors()
    if factors is not None:
        _announce(writer, "rope_freqs.weight", factors.shape, GGMLQuantizationType.F32)
    with closing(writer):
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for weight, values in _weights(model):
            writer.write_tensor_data(_packed(shape.turn(weight, values), kinds[weight], weight))
        if factors is not None:
            writer.write_tensor_data(factors)
    return check_gguf(model, file, shape)


def check_gguf(model: Path, file: Path, shape: Shape) -> int:
    """Read `file` back and compare each weight with the model's; return how many weights there are.

    Raises:
        MlxError: With the first that is missing or off by more than its type explains.
    """
    there = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    count = 0
    for weight, values in _weights(model):
        tensor = there.get(shape.tensor_name(weight))
        if tensor is None:
            raise MlxError(f"{file.name} lacks {weight}", "report it: this is a fault of mlx")
        found = shape.turn_back(weight, np.asarray(dequantize(tensor.data, tensor.tensor_type)).reshape(values.shape))
        apart, largest = float(np.abs(found - values).max()), float(np.abs(values).max())
        if not apart <= ERROR[tensor.tensor_type] * largest:
            raise MlxError(
                f"{file.name}: {weight} is off by {apart:.2g} of {largest:.2g}",
                "take another --type, and report it: this is a fault of mlx",
            )
        count += values.size
    return count


def _sizes(model: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(file, "pt") as stream:
            for name in stream.keys():  # noqa: SIM118 (no mapping)
                yield name, tuple(stream.get_slice(name).get_shape())


def _weights(model: Path) -> Iterator[tuple[str, Array]]:
    """Each weight in float32, in the order of `_sizes`."""
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(file, "pt") as stream:
            for name in stream.keys():  # noqa: SIM118
                yield name, stream.get_tensor(name).to(torch.float32).numpy()


def _kind(main: GGMLQuantizationType, size: tuple[int, ...]) -> GGMLQuantizationType:
    """Vectors stay whole; a row that Q8_0 cannot part into blocks is kept as F16."""
    if len(size) < 2:
        return GGMLQuantizationType.F32
    return GGMLQuantizationType.F16 if main == GGMLQuantizationType.Q8_0 and size[-1] % BLOCK else main


def _announce(writer: GGUFWriter, name: str, size: tuple[int, ...], kind: GGMLQuantizationType) -> None:
    packed = quant_shape_to_byte_shape(size, kind)
    plain: Any = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.F16: np.float16}.get(kind)
    if plain:
        writer.add_tensor_info(name, size, np.dtype(plain), int(np.prod(packed)), kind)
    else:
        writer.add_tensor_info(name, packed, np.dtype(np.uint8), int(np.prod(packed)), kind)


def _packed(values: Array, kind: GGMLQuantizationType, name: str) -> Array:
    if kind == GGMLQuantizationType.F16 and float(np.abs(values).max()) > LARGEST_F16:
        raise MlxError(f"{name} holds weights too large for f16", "take --type bf16")
    return np.ascontiguousarray(quantize(np.ascontiguousarray(values), kind))
