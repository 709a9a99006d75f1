"""Peak memory of a training, part by part.

Activations are what autograd keeps of each block, counted tensor by tensor for the way transformers, PEFT and TRL compute
(checked against autograd's own list, see the tests): the inputs of every adapted matrix, though the frozen matrix itself
needs none of them; of attention its queries, keys, values, output and, for rows that must not see each other, a mask.
After Korthikanti et al. 2022, "Reducing Activation Recomputation"; NF4's bits are those of Dettmers et al. 2023, "QLoRA", §3.
"""

from dataclasses import dataclass

from src.train.planning.setting import Setting
from src.train.planning.shape import Shape

NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes a weight: 4 bits, an 8-bit constant for each 64 weights, a 32-bit constant for each 256 of those."""
_STATES = {"lion": 4.0, "ademamix": 12.0, "rmsprop": 4.0, "adagrad": 4.0, "sgd": 0.0, "adafactor": 0.01}  # others: two in fp32
_EIGHT_BITS = 4  # times less
_TILE_TOKENS, _TILE_VOCAB = 4096, 32768  # of TRL's fused head
_CPU_TILES = 8.25  # copies of a tile that its backward pass holds at once without Triton
_CONTEXT = 0.55e9  # CUDA's own, and cuBLAS's workspace
_SPARE = 0.04  # of the activations: what the caching allocator cannot use
_CPU_RUNTIME = 40e6  # what libraries load and keep once they train


@dataclass(frozen=True)
class Memory:
    """Bytes by part, at the moment when they are most."""

    parts: dict[str, float]

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self.parts.values())


def memory(shape: Shape, setting: Setting) -> Memory:
    """Reckon the peak; parts that a setting does not have are 0."""
    trained = trained_parameters(shape, setting)
    kept = saved_activations(shape, setting)
    return Memory(
        {
            "weights": weight_bytes(shape, setting),
            "adapter": 0.0 if setting.full else 4.0 * trained,
            "gradients": 4.0 * trained / setting.shares + gathered_bytes(shape, setting, layers=1),
            "optimizer": trained * state_bytes(setting.optimizer) / setting.shares,
            "activations": kept,
            "loss or a block": max(loss_bytes(shape, setting), backward_bytes(shape, setting)),
            "dequantised matrix": dequantised_bytes(shape, setting),
            "context and spare": _CPU_RUNTIME if setting.on_cpu else _CONTEXT + _SPARE * kept,
        }
    )


def trained_parameters(shape: Shape, setting: Setting) -> int:
    """Weights that an optimizer updates."""
    if setting.full:
        return shape.parameters - shape.extra
    whole = (shape.vocab * shape.hidden) * sum(name in ("embed_tokens", "lm_head") for name in setting.saved_whole)
    head = shape.head_parameters if shape.labels else 0
    return shape.lora_parameters(setting.rank, setting.targets) + whole + head


def weight_bytes(shape: Shape, setting: Setting) -> float:
    """The model's own weights: trained ones in fp32, frozen matrices as they are quantised, the rest in what is computed in."""
    if setting.shares > 1:  # a layer is put together while the one before it is computed
        return 4.0 * shape.parameters / setting.shares + gathered_bytes(shape, setting, layers=2)
    if setting.full:  # autocast keeps a bf16 copy of each matrix for the pass
        return 4.0 * shape.parameters + (2.0 * shape.matmul_parameters if setting.bf16 else 0)
    matrix = {"nf4": NF4, "int8": 1 + 4 / shape.hidden, "none": setting.width}[setting.quantization]
    if setting.on_cpu and setting.quantization != "none":
        matrix += 4  # the file that was quantised stays mapped, its pages resident until the system wants them (in fp32)
    return shape.linear_parameters * matrix + (shape.parameters - shape.linear_parameters) * setting.width


def gathered_bytes(shape: Shape, setting: Setting, *, layers: int) -> float:
    """What is put together of a model that is shared out: so many of its layers, and all that is no layer."""
    if setting.shares == 1:
        return 0.0
    return (shape.linear_parameters / shape.layers * layers + shape.parameters - shape.linear_parameters) * setting.width


def state_bytes(optimizer: str) -> float:
    """Bytes an optimizer keeps for each trained weight; paged ones count in full, for the host is the way out and not the plan."""
    name = optimizer.removeprefix("paged_")
    whole = _STATES.get(name.split("_")[0], 8.0)
    return whole / _EIGHT_BITS if name.endswith("8bit") else whole


def saved_activations(shape: Shape, setting: Setting) -> float:
    """What the forward pass leaves for the backward pass; with checkpointing, the input of each block alone."""
    ends = setting.tokens * shape.hidden * (4 + 2 * setting.width)  # the last norm's input, its output, what the head reads
    block = setting.tokens * shape.hidden * setting.width if setting.checkpointing else block_bytes(shape, setting)
    kept = min(shape.layers, 2) if setting.offloading else shape.layers  # what is on its way out or back
    return kept * block + ends + mask_bytes(setting)


def block_bytes(shape: Shape, setting: Setting) -> float:
    """What one block keeps of a batch."""
    token = _encoder_token(shape, setting) if shape.encoder else _decoder_token(shape, setting)
    masks = setting.rows * setting.sequence**2 * setting.width if not setting.packing else setting.row**2 * setting.width
    return token * setting.tokens + (masks if masked(setting) and not shape.encoder else 0)


def masked(setting: Setting) -> bool:
    """Whether attention is handed a mask, of which each block keeps a copy in the dtype it computes in."""
    return not setting.varlen and (setting.packing or setting.rows > 1)


def mask_bytes(setting: Setting) -> float:
    """The mask itself, one byte a pair of places."""
    return float(setting.row * setting.tokens) if masked(setting) else 0.0


def _decoder_token(shape: Shape, setting: Setting) -> float:
    """Bytes a token in a block of Llama's kind."""
    width, query = setting.width, shape.heads * shape.head_dim
    # keys and values are repeated for each query head where there is a mask
    value = query if masked(setting) else shape.kv_heads * shape.head_dim
    attention = (2 * query + 2 * value) * width + 4 * shape.heads
    norms = shape.norms * shape.hidden * 4 + (
        (query + shape.kv_heads * shape.head_dim) * 4 * (2 if setting.full else 1) if shape.qk_norm else 0
    )
    gate = 3 * shape.intermediate * width
    return attention + norms + gate + (_full_inputs(shape, setting) if setting.full else _adapter_inputs(shape, setting))


def _full_inputs(shape: Shape, setting: Setting) -> float:
    """Inputs of matrices and scales of norms that are trained."""
    scaled = shape.norms * shape.hidden * 4
    if setting.bf16:  # each matrix casts its own copy; the output matrix of attention reads what attention keeps
        return scaled + 2 * (5 * shape.hidden + shape.intermediate)
    return scaled + 4 * (2 * shape.hidden + shape.intermediate)


def _adapter_inputs(shape: Shape, setting: Setting) -> float:
    """Inputs of the adapter's matrices."""
    adapted = shape.adapted(setting.targets)
    inputs, width = sum(each.inputs for each in adapted), setting.width
    ranks = len(adapted) * setting.rank * width
    if setting.dropout:  # what was dropped, and where; the CPU keeps the latter as numbers, the GPU as bytes
        return inputs * (width + (4 if setting.on_cpu else 1)) + ranks
    if setting.bf16:  # PEFT casts to fp32 and autocast back, one copy for each
        return inputs * 2 + ranks
    shared = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "gate_proj": "mlp", "up_proj": "mlp", "o_proj": "", "dense": ""}
    once = {shared.get(each.name, each.name): each.inputs for each in adapted}
    return sum(size for name, size in once.items() if name) * 4 + ranks


def _encoder_token(shape: Shape, setting: Setting) -> float:
    """Bytes a token in a block of BERT's kind."""
    width, hidden, inner = setting.width, shape.hidden, shape.intermediate
    attention = 4 * hidden * width + 4 * shape.heads
    if setting.on_cpu:  # without a fused kernel for its dropout: probabilities, what was dropped, and the result
        attention += 3 * shape.heads * setting.sequence * width
    norms, dropped = 2 * hidden * 4, 2 * hidden * (4 if setting.on_cpu else 1)
    mlp = inner * width
    inputs = (2 * hidden + inner) * width if setting.full else _adapter_inputs(shape, setting)
    return attention + norms + dropped + mlp + inputs


def loss_bytes(shape: Shape, setting: Setting) -> float:
    """What the loss takes for a moment: tiles of the fused head, whole logits where there is none, nothing for classes."""
    if shape.labels:
        return 0.0
    tokens, hidden = setting.tokens, shape.hidden
    if setting.task == "dpo":
        return tokens * shape.vocab * (setting.width + 4.0)
    head = 4.0 * shape.vocab * hidden if setting.full else 0.0
    rows = min(tokens, _TILE_TOKENS)
    if setting.on_cpu:
        return rows * min(shape.vocab, _TILE_VOCAB) * 4 * _CPU_TILES + tokens * hidden * 4 + head
    return rows * _TILE_VOCAB * setting.width + tokens * hidden * (4 + setting.width) + head


def backward_bytes(shape: Shape, setting: Setting) -> float:
    """Gradients on their way through the widest part of a block; with checkpointing, after it is computed once more."""
    again = block_bytes(shape, setting) if setting.checkpointing else 0.0
    return again + setting.tokens * (4.0 * shape.intermediate + 2 * shape.hidden) * setting.width


def dequantised_bytes(shape: Shape, setting: Setting) -> float:
    """The largest matrix, unpacked for its product."""
    if setting.quantization == "none":
        return 0.0
    return max(each.weights for each in shape.linears) * float(setting.width)
