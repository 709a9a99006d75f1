"""A tokenizer and a small Llama made from nothing, so that a project trains end to end without a model to download.

Half a million parameters learn one thing that a pre-trained model brings along: to copy what stands in the prompt.
That is what a tool call or a grounded answer needs; manner and tools are left for the fine-tuning.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from src.models.curriculum import Curriculum, Row, words

PAD, BOS, START, END = "<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TOOL_MARKS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<tools>", "</tools>")
CONTEXT = 2048  # positions; rotary embeddings make them free
IGNORED = -100  # the label that cross entropy passes over
BATCH = 24  # rows a step
POOL = 16  # batches sorted by length together: short rows next to short rows, hardly any padding
MUON_RATE, ADAMW_RATE = 0.007, 8e-3  # higher rates of either were slower to copy in short trials
EMBEDDING, CONSTANT, LOOK_BACK = 0.06, 4, 2.0  # of embeddings: spread and shared coordinates; how hard the first layer looks back
WARM, COOL = 0.05, 0.3  # shares of the steps spent going up to the full rate and coming down from it

Report = Callable[[int, float], None]


def train_tokenizer(texts: Iterable[str], *, vocab: int = 1536, sample: int = 1_000_000) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE with ChatML marks: any Unicode comes back as it went in, digits stand alone.

    `texts` may be a whole library: about `sample` characters, drawn evenly, are learned from, beside the words of
    the curriculum, so that what the model practises on is short in tokens.
    """
    learner = Tokenizer(models.BPE())
    # a newline of its own keeps the prompt a token prefix of prompt + answer, whatever the answer starts with
    newline = pre_tokenizers.Split(Regex("\n"), "isolated")
    digits = pre_tokenizers.Digits(individual_digits=True)
    learner.pre_tokenizer = pre_tokenizers.Sequence([newline, digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    learner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(TOOL_MARKS),
        special_tokens=[PAD, BOS, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    drawn = excerpts(texts, sample)
    learner.train_from_iterator([*drawn, *words(weight(drawn))], trainer)
    # plain, not special: they are kept when special tokens are dropped, so a tool call can be read back
    learner.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in TOOL_MARKS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=learner, pad_token=PAD, bos_token=BOS, eos_token=END, model_max_length=CONTEXT, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = Path(__file__).with_name("chatml.jinja").read_text(encoding="utf-8").strip()
    return tokenizer


def excerpts(texts: Iterable[str], sample: int, size: int = 500) -> list[str]:
    """Draw about `sample` characters evenly from `texts`, in pieces of `size` (reservoir sampling, Vitter 1985)."""
    chance = random.Random(0)
    room = max(1, sample // size)
    kept: list[str] = []
    pieces = (text[at : at + size] for text in texts for at in range(0, len(text), size))
    for seen, piece in enumerate(pieces):
        if len(kept) < room:
            kept.append(piece)
        elif (place := chance.randrange(seen + 1)) < room:
            kept[place] = piece
    return kept


def weight(drawn: Sequence[str]) -> int:
    """How often the curriculum's words are repeated: often enough to count against `drawn`."""
    return 20 + sum(map(len, drawn)) // 10_000


def pretrain(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, seed: int, steps: int = 1000, on_step: Report | None = None
) -> LlamaForCausalLM:
    """Teach a fresh Llama to copy, on made-up rows and a share of plain `texts` (which may be empty).

    Returns the model in float32 on the CPU; the same arguments give the same weights. `on_step` is
    told the number of steps done and the loss of the last.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = fresh_model(tokenizer)
    curriculum = Curriculum(tokenizer, texts, seed=seed)
    given = batches(curriculum, steps, seed)
    teach(model, lambda: backward(model, next(given), tokenizer.pad_token_id), steps=steps, on_step=on_step)
    return model


def teach(model: PreTrainedModel, backward: Callable[[], float], *, steps: int, on_step: Report | None) -> None:
    """Train for so many steps; `backward` adds the gradient of a batch and returns its loss."""
    optimizers = [(each, each.param_groups[0]["lr"]) for each in optimizers_of(model)]
    model.train()
    with _one_thread():
        for done in range(1, steps + 1):
            loss = backward()
            for optimizer, rate in optimizers:
                optimizer.param_groups[0]["lr"] = rate * schedule(done, steps)
                optimizer.step()
                optimizer.zero_grad()
            if on_step:
                on_step(done, loss)
    model.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread: as quick as two for matrices this small, and the same weights on any number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fresh_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of some 0.6 M parameters with random weights and tied embeddings."""
    config = LlamaConfig(
        vocab_size=(len(tokenizer) + 63) // 64 * 64,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.02,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )
    model = LlamaForCausalLM(config)
    look_back(model)
    return model


def look_back(model: LlamaForCausalLM) -> None:
    """Start the first layer out attending to the token before, the slow half of what a model needs in order to copy.

    A few coordinates of every embedding are the same constant; queries and keys read them, the key turned one position
    further, so that the rotary product is largest at distance one. On spans said twice, one seed, 300 steps: loss 5.2
    without, 1.9 with, and 0.1 with embeddings three times as wide besides, as `EMBEDDING` makes them.
    """
    config = model.config
    size = config.hidden_size // config.num_attention_heads
    angle = config.rope_parameters["rope_theta"] ** (-torch.arange(0, size, 2) / size)
    strength = torch.where(angle > 0.1, LOOK_BACK, 0.0)  # slowly turning coordinates do not tell neighbours apart
    query = torch.cat([strength, torch.zeros_like(strength)])
    key = torch.cat([strength * angle.cos(), strength * angle.sin()])
    attention = model.model.layers[0].self_attn
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(std=EMBEDDING)
        model.get_input_embeddings().weight[:, :CONSTANT] = 3 * EMBEDDING
        for row in range(0, config.hidden_size, size):
            attention.q_proj.weight[row : row + size, :CONSTANT] = query[:, None] / CONSTANT
            attention.k_proj.weight[row : row + size, :CONSTANT] = key[:, None] / CONSTANT


def optimizers_of(model: PreTrainedModel) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices inside the layers, AdamW for embeddings and norms."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, weight in model.named_parameters():
        (matrices if weight.dim() == 2 and "embed" not in name else others).append(weight)
    return [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.05, momentum=0.95, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=ADAMW_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def batches(curriculum: Curriculum, steps: int, seed: int) -> Iterator[list[Row]]:
    """Yield `steps` batches of rows of about one length, in mixed order."""
    chance = random.Random(seed)
    for first in range(0, steps, POOL):
        count = min(POOL, steps - first)
        rows = sorted((curriculum.row() for _ in range(count * BATCH)), key=lambda row: len(row.ids))
        order = list(range(count))
        chance.shuffle(order)
        yield from (rows[place * BATCH : (place + 1) * BATCH] for place in order)


def backward(model: LlamaForCausalLM, rows: Sequence[Row], pad: int) -> float:
    """Add the gradient of one batch and return its loss; logits are computed only where a token is learned."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [pad] * (longest - len(row.ids)) for row in rows])
    labels = torch.tensor([row.labels + [IGNORED] * (longest - len(row.ids)) for row in rows])[:, 1:]
    learned = labels != IGNORED
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[learned]), labels[learned])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return float(loss.item())


def schedule(done: int, steps: int) -> float:
    """The learning rate's factor at a step: up, level, down to a twentieth."""
    rising = min(1.0, done / max(1.0, WARM * steps))
    falling = min(1.0, max(0.05, (steps - done + 1) / (COOL * steps)))
    return rising * falling
