"""The style judges' test on real books in one picture."""

import pandas as pd
from plotnine import (
    aes,
    geom_errorbarh,
    geom_hline,
    geom_line,
    geom_point,
    geom_vline,
    ggplot,
    labs,
    scale_color_manual,
    scale_x_log10,
    scale_y_continuous,
)

from plots.evaluation import calibration, confusion
from plots.house import COLOURS, DEEP, house


def plot_style(found, path):
    """Draw accuracies, confusion, calibration and the effect of length from what `bench_style.py` found."""
    told = found["trials"][found["main"]]
    top = _accuracies(found["trials"])
    hardest = confusion(told["confusion"], ["others", "persona"], title="Against his time and topics", square=False)
    bottom = hardest | calibration(told["calibration"]["bins"]) | _lengths(found["lengths"])
    (top / bottom + house(13, 9)).save(path, verbose=False)


def _accuracies(trials):
    rows = [
        {
            "trial": name.replace(", ", ",\n", 1),
            "accuracy": each["accuracy"],
            "low": each["accuracy_interval"][0],
            "high": each["accuracy_interval"][1],
        }
        for name, each in trials.items()
    ]
    data = pd.DataFrame(rows)
    data["trial"] = pd.Categorical(data["trial"], categories=list(dict.fromkeys(data["trial"]))[::-1])
    return (
        ggplot(data, aes("accuracy", "trial"))
        + geom_vline(xintercept=0.5, linetype="dotted", color="#8a8f98")
        + geom_errorbarh(aes(xmin="low", xmax="high"), height=0.25, color=DEEP)
        + geom_point(size=3, color=DEEP)
        + labs(
            x="accuracy on documents never seen, 95 % interval over documents", y="", title="Whose voice? Pieces of 60 words, unless said"
        )
        + house(13, 4)
    )


def _lengths(lengths):
    rows = [{"words": int(words), "judge": judge, "right": right} for words, told in lengths.items() for judge, right in told.items()]
    return (
        ggplot(pd.DataFrame(rows), aes("words", "right", color="judge"))
        + geom_hline(yintercept=0.5, linetype="dotted", color="#8a8f98")
        + geom_line()
        + geom_point(size=2)
        + scale_x_log10()
        + scale_y_continuous(limits=(0.45, 1))
        + scale_color_manual(values=dict(zip(("Burrows' Delta", "words and letters"), COLOURS[1:], strict=False)))
        + labs(x="words a piece", y="balanced accuracy", title="By length")
        + house(4.4, 4.4)
    )
