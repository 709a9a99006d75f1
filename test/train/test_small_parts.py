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


def test_sigusr1_asks_for_a_checkpoint_and_no_more():
    from src.train.interrupt import Interrupt

    interrupt = Interrupt()
    with interrupt.watched():
        signal.raise_signal(signal.SIGUSR1)
    assert interrupt.save
    assert not interrupt.asked


def test_half_a_file_makes_no_whole_checkpoint():
    from types import SimpleNamespace

    from src.train.checkpoints import MarkWhole, newest

    for step in (2, 4):
        folder = Path("c") / f"checkpoint-{step}"
        (folder / "state").mkdir(parents=True)
        (folder / "state" / "optimizer.pt").write_bytes(b"0123456789")
        MarkWhole().on_save(SimpleNamespace(output_dir="c"), SimpleNamespace(global_step=step, max_steps=4), None)
    assert (newest(Path("c")).step, newest(Path("c")).last) == (4, True)
    (Path("c/checkpoint-4/state/optimizer.pt")).write_bytes(b"01234")  # as a copy that broke off leaves it
    assert newest(Path("c")).step == 2
    assert not Path("c/checkpoint-4").exists()


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
