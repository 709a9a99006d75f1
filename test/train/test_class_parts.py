"""Loss, weights, early stopping and the choice of the best state, each on its own."""

import pytest

from src.train import TrainConfig
from src.train.classification import Classification


def test_weights_are_scikit_learns_and_have_mean_one():
    import numpy as np
    from sklearn.utils.class_weight import compute_class_weight

    from src.train.class_loss import class_weights

    counts = [6, 3, 1]
    rows = [0] * 6 + [1] * 3 + [2]
    assert class_weights(counts, "abc", "balanced") == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=rows))
    assert class_weights(counts, "abc", "none") == [1, 1, 1]
    given = class_weights(counts, "abc", {"c": 4})
    assert given[2] == pytest.approx(4 * given[0])
    assert sum(weight * count for weight, count in zip(given, counts, strict=True)) == pytest.approx(10)
    assert class_weights([6, 0, 4], "abc", "balanced") == pytest.approx([10 / 12, 1, 10 / 8])


def test_the_loss_is_cross_entropy_and_does_not_depend_on_how_a_step_is_cut():
    import torch

    from src.train.class_loss import class_loss

    torch.manual_seed(0)
    logits, labels = torch.randn(8, 3), torch.tensor([0, 1, 2, 0, 0, 1, 2, 2])
    plain = class_loss([1, 1, 1], 0.1)
    assert plain(logits, labels) == pytest.approx(torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1).item())
    weighed = class_loss([0.5, 1, 2], 0.0)
    each = torch.nn.functional.cross_entropy(logits, labels, weight=torch.tensor([0.5, 1, 2]), reduction="sum")
    assert weighed(logits, labels) == pytest.approx(each.item() / 8)
    passes = sum(weighed({"logits": logits[at : at + 2]}, labels[at : at + 2], 8) for at in range(0, 8, 2))
    assert passes == pytest.approx(weighed(logits, labels).item())


def looked(name, patience, watch=(), **figures):
    """The best step after each measurement, and whether the training would have ended there."""
    from transformers import TrainerControl, TrainerState

    from src.train.judge import Judge

    judge, state, best, ends = Judge(name, patience=patience, watch=watch), TrainerState(), [], []
    for number in range(len(next(iter(figures.values())))):
        state.global_step = number
        control = TrainerControl()
        judge.look({figure: values[number] for figure, values in figures.items()}, state, control)
        best.append(state.best_global_step)
        ends.append(control.should_training_stop)
    return best, ends


def test_the_best_step_is_the_first_of_equals_and_not_the_untrained_one():
    assert looked("validation_macro_f1", None, validation_macro_f1=[0.9, 0.2, 0.6, 0.4, 0.6])[0][-1] == 2
    assert looked("validation_loss", None, validation_loss=[0.1, 0.9, 0.3, 0.8])[0][-1] == 2


def test_patience_runs_out_only_when_no_watched_figure_gets_better():
    figures = {"validation_accuracy": [0, 0.5, 0.6, 0.6, 0.6, 0.6], "validation_macro_f1": [0, 0.3, 0.3, 0.4, 0.4, 0.4]}
    assert looked("validation_macro_f1", 2, tuple(figures), **figures)[1] == [False] * 5 + [True]
    assert looked("validation_accuracy", 2, **figures)[1] == [False] * 4 + [True] * 2
    assert not any(looked("validation_accuracy", None, **figures)[1])


def test_what_was_measured_before_a_kill_counts():
    from src.train.judge import Judge

    rows = [{"step": step, "validation_accuracy": accuracy, "validation_loss": 1.0} for step, accuracy in ((0, 0.9), (3, 0.5), (6, 0.4))]
    judge = Judge("validation_accuracy", patience=3, before=rows, watch=("validation_accuracy", "validation_loss"))
    assert (judge.best, judge.stale) == (0.5, 1)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"labels": ("a", "b", "a")}, "labels: 'a' is there twice"),
        ({"labels": ("a",)}, "needs two classes"),
        ({"labels": ("bull", "bear"), "weights": {"bul": 2}}, "no class is called 'bul'; did you mean 'bull'"),
        ({"watch": ("macro_f1",)}, "validation_macro_f1"),
    ],
)
def test_settings_that_make_no_sense(settings, fault):
    with pytest.raises(ValueError, match=fault):
        Classification(**settings)


def test_all_weights_of_a_quantised_base_cannot_be_trained():
    with pytest.raises(ValueError, match="set quantization to none"):
        TrainConfig(task="classify", model="scratch", lora=None)
