"""Loss, weights, early stopping and the choice of the best state, each on its own."""

import pytest

from src.train import TrainConfig
from src.train.classification import Classification
from src.train.selection import best_step, is_spent


def history(**figures):
    count = len(next(iter(figures.values())))
    return [{"step": 10 * (n + 1), **{f"validation_{name}": values[n] for name, values in figures.items()}} for n in range(count)]


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


def test_the_best_step_is_the_first_of_equals():
    assert best_step(history(macro_f1=[0.2, 0.6, 0.4, 0.6]), "macro_f1") == 20
    assert best_step(history(loss=[0.9, 0.3, 0.8]), "loss") == 20


def test_patience_runs_out_only_when_no_watched_figure_gets_better():
    accuracy, f1 = [0.5, 0.6, 0.6, 0.6, 0.6], [0.3, 0.3, 0.4, 0.4, 0.4]
    watched = ("accuracy", "macro_f1")
    ends = [is_spent(history(accuracy=accuracy[:n], macro_f1=f1[:n]), watched, 2) for n in range(1, 6)]
    assert ends == [False, False, False, False, True]
    assert [is_spent(history(accuracy=accuracy[:n]), ("accuracy",), 2) for n in range(1, 6)] == [False, False, False, True, True]
    assert not is_spent(history(accuracy=accuracy), ("accuracy",), None)
    assert not is_spent([], watched, 1)
    assert is_spent(history(loss=[1.0, 1.0]), ("loss",), 1)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"labels": ("a", "b", "a")}, "labels: 'a' is there twice"),
        ({"labels": ("a",)}, "needs two classes"),
        ({"labels": ("bull", "bear"), "weights": {"bul": 2}}, "no class is called 'bul'; did you mean 'bull'"),
        ({"watch": ()}, "at least 1 item"),
    ],
)
def test_settings_that_make_no_sense(settings, fault):
    with pytest.raises(ValueError, match=fault):
        Classification(**settings)


def test_all_weights_of_a_quantised_base_cannot_be_trained():
    with pytest.raises(ValueError, match="set quantization to none"):
        TrainConfig(task="classify", model="scratch", lora=None)
