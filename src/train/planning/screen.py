"""A plan on one screen."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

from src.core.grid import grid
from src.train.planning.estimate import Estimate, estimate
from src.train.planning.filling import padding_share
from src.train.planning.memory import trained_parameters
from src.train.planning.plan import Plan
from src.train.planning.setting import Setting

_SHOWN = 7
_BAR = 16


def screen(plan: Plan, price: float) -> Iterator[str]:
    """Yield the lines.

    Args:
        plan: What was reckoned.
        price: Of an hour, in dollars.
    """
    yield headline(plan)
    yield ""
    left, right = list(_memory(plan)), list(_course(plan, price))
    width = max(map(len, left))
    yield from (f"{one:<{width}}    {other}".rstrip() for one, other in zip_longest(left, right, fillvalue=""))
    yield ""
    yield _table(plan, price)
    yield ""
    yield from verdict(plan)


def headline(plan: Plan) -> str:
    """What is planned."""
    shape, setting = plan.job.shape, plan.written.setting
    trained = trained_parameters(shape, setting)
    adapter = "all weights" if setting.full else f"LoRA r={setting.rank} ({_count(trained)} trained)"
    return (
        f"{plan.project.name}: {setting.task} of {shape.name}, {_count(shape.parameters)} parameters, "
        f"{_weights(setting)}, {adapter}, on {plan.job.gpu.name}"
    )


def verdict(plan: Plan) -> Iterator[str]:
    """Which way to take and why; what nothing fits lacks; what is uncertain."""
    best, written = plan.best, plan.written
    if best is None:
        yield _nearest(plan)
    elif written.fits and written.seconds <= best.seconds * 1.05:
        yield "Take it as it is written: nothing that fits is more than 5 % quicker."
    else:
        yield f"Take: {' '.join(differences(written.setting, best.setting)) or 'it as it is written'}"
        yield f"  {_reason(plan, best)}"
    if plan.job.rows.real is False:
        yield f"  Note: {plan.job.rows.note}; `mlx build` gives the real lengths."
    elif lost := plan.job.rows.rows - plan.job.rows.upto(written.setting.sequence).rows:
        yield f"  Note: {lost:,} rows are longer than train.sequence_length {written.setting.sequence} and will be dropped."
    if written.setting.processes > 1:
        yield "  Note: the time of several GPUs is reckoned without what they tell each other: it was not measured."


def differences(written: Setting, other: Setting) -> Iterator[str]:
    """The settings to change, as one types them."""
    pairs = {
        "quantization": (written.quantization, other.quantization),
        "sequence_length": (written.sequence, other.sequence),
        "micro_batch": (written.micro_batch, other.micro_batch),
        "effective_batch": (written.effective_batch, other.effective_batch),
        "gradient_checkpointing": (written.checkpointing, other.checkpointing),
    }
    yield from (f"train.{key}={str(new).lower()}" for key, (old, new) in pairs.items() if old != new)


def _memory(plan: Plan) -> Iterator[str]:
    found, room = plan.written.memory, plan.job.gpu.memory
    yield f"{'peak memory':<20} {'GB':>7}"
    for name, size in found.parts.items():
        bar = "█" * round(_BAR * size / max(found.total, room))
        yield f"{name:<20} {size / 1e9:>7.2f} {bar}"
    state = f"fits {room / 1e9:.1f}" if plan.written.fits else f"does NOT fit {room / 1e9:.1f}"
    yield f"{'in all':<20} {found.total / 1e9:>7.2f} {state} ({found.total / room:.0%})"


def _course(plan: Plan, price: float) -> Iterator[str]:
    each, setting, rows = plan.written, plan.written.setting, plan.job.rows
    loose = 1 - padding_share(rows, setting.rows)
    tight = estimate(plan.job, replace(setting, packing=True)).full
    yield f"rows         {rows.note}"
    yield f"sequences    {each.sequences:,} of {setting.sequence} places, {each.full:.1%} full; packed {tight:.1%}, padded {loose:.1%}"
    yield f"steps        {each.steps:,} of {setting.effective_batch} = {setting.micro_batch} × {setting.accumulation}{_together(setting)}"
    yield f"speed        {each.speed.tokens_per_second:,.0f} tok/s, MFU {each.speed.mfu:.1%}{' each' if setting.processes > 1 else ''}"
    yield f"time, cost   {hours(each.seconds)}, ${_cost(each, price):,.2f} at ${price:.2f} an hour{_together(setting)}"
    yield "speed rests on"
    yield from (f"  {line}" for line in _wrapped(each.speed.rests_on, 66))


def _together(setting: Setting) -> str:
    return f" × {setting.processes} GPUs" if setting.processes > 1 else ""


def _cost(each: Estimate, price: float) -> float:
    return each.seconds / 3600 * price * each.setting.processes


def _table(plan: Plan, price: float) -> str:
    shown = [plan.written, *(each for each in plan.options[:_SHOWN] if each.setting != plan.written.setting)]
    header = ("", "weights", "sequence", "micro × acc", "checkpointing", "GB", "tok/s", "MFU", "time", "cost", "")
    return grid([_row(plan, each, price) for each in shown], header, right=(2, 3, 5, 6, 7, 8, 9))


def _row(plan: Plan, each: Estimate, price: float) -> list[str]:
    setting = each.setting
    return [
        "written" if each is plan.written else "best" if each is plan.best else "",
        _weights(setting),
        str(setting.sequence),
        f"{setting.micro_batch} × {setting.accumulation}",
        "on" if setting.checkpointing else "off",
        f"{each.memory.total / 1e9:.1f}",
        f"{each.speed.tokens_per_second:,.0f}",
        f"{each.speed.mfu:.0%}",
        hours(each.seconds),
        f"${_cost(each, price):,.2f}",
        "" if each.fits else "does not fit",
    ]


def _reason(plan: Plan, best: Estimate) -> str:
    written = plan.written
    if not written.fits:
        gb = written.memory.total / 1e9
        return f"As written it needs {gb:.1f} GB of {plan.job.gpu.memory / 1e9:.1f}; this is the quickest way that fits."
    faster = f"{written.seconds / best.seconds:.1f}× quicker"
    if written.setting.quantization == "nf4" and best.setting.quantization == "none":
        weights = _weights(best.setting)
        return f"{weights} LoRA fits and the training is {faster}: QLoRA is a memory tool, its weights are unpacked for every product."
    if written.setting.checkpointing and not best.setting.checkpointing:
        return f"Activations fit without computing them twice: {faster}."
    return f"It fits and is {faster}."


def _nearest(plan: Plan) -> str:
    each = plan.options[0]
    how = " ".join(differences(plan.written.setting, each.setting)) or "as it is written"
    need, room = each.memory.total / 1e9, plan.job.gpu.memory / 1e9
    return (
        f"Nothing fits {plan.job.gpu.name}. Nearest: {how}, {need:.1f} GB where {room:.1f} are; take a card with more, or a smaller model."
    )


def _weights(setting: Setting) -> str:
    plain = "bf16" if setting.bf16 else "fp32"
    return {"nf4": "NF4", "int8": "int8", "none": plain}[setting.quantization]


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.1f} M"


def hours(seconds: float) -> str:
    """A time span: `3 h 20 min`, `12 min`, `40 s`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _wrapped(text: str, width: int) -> list[str]:
    from textwrap import wrap

    return wrap(text, width)
