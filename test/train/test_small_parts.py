"""Checkpoints that are not whole, signals, pictures."""

import signal
import threading
from pathlib import Path

import pytest


def test_a_checkpoint_without_its_mark_is_deleted():
    from src.train.checkpoints import newest

    assert newest(Path("nowhere")) is None
    for step in (3, 12, 15):
        (Path("c") / f"checkpoint-{step}").mkdir(parents=True)
    for step in (3, 12):
        (Path("c") / f"checkpoint-{step}" / "whole.json").write_text(f'{{"step": {step}, "last": false}}')
    found = newest(Path("c"))
    assert (found.step, found.last) == (12, False)
    assert not Path("c/checkpoint-15").exists()


def test_the_second_ctrl_c_ends_at_once():
    from src.train.interrupt import Interrupt

    interrupt = Interrupt()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupt.watched():
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.asked
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_signals_are_left_alone():
    from src.train.interrupt import Interrupt

    seen = []

    def work():
        with Interrupt().watched():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


@pytest.mark.parametrize("steps", [1, 100])
def test_the_picture_is_drawn(steps):
    from src.train.plot import plot

    rows = [{"step": 0, "validation_loss": 3.0}]
    rows += [{"step": n + 1, "loss": 3 / (n + 1), "learning_rate": 1e-3} for n in range(steps)]
    plot(rows, Path("loss.png"), title="t")
    assert Path("loss.png").read_bytes().startswith(b"\x89PNG")
