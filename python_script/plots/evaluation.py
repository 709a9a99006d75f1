"""What an evaluation found, as plots: from the `metrics.json` of `mlx eval`, loaded."""

import pandas as pd
from plotnine import (
    aes,
    coord_equal,
    coord_flip,
    element_blank,
    facet_wrap,
    geom_abline,
    geom_errorbarh,
    geom_line,
    geom_point,
    geom_pointrange,
    geom_segment,
    geom_text,
    geom_tile,
    geom_vline,
    ggplot,
    labs,
    position_dodge,
    scale_alpha_identity,
    scale_color_manual,
    scale_fill_gradient,
    scale_size_area,
    scale_x_continuous,
    scale_x_log10,
    scale_y_continuous,
    theme,
)

from plots.house import COLOURS, DEEP, house


def _in_order(values):
    """A column whose values keep their first order, from the top down."""
    names = list(dict.fromkeys(values))
    return pd.Categorical(values, categories=names[::-1])


def intervals(found, *, families=("",)):
    """Figures of every model with their intervals; `families` are beginnings of the names to show."""
    rows = [
        {"metric": figure["name"], "model": model, "better": f"{figure['better']} is better", **each}
        for figure in found["metrics"]
        if figure["name"].startswith(tuple(families))
        for model, each in figure["models"].items()
    ]
    data = pd.DataFrame(rows)
    models = list(dict.fromkeys(data["model"]))
    data["metric"], data["model"] = _in_order(data["metric"]), pd.Categorical(data["model"], categories=models)
    return (
        ggplot(data, aes("metric", "value", color="model"))
        + geom_pointrange(aes(ymin="low", ymax="high"), position=position_dodge(width=0.6), fatten=2.5, na_rm=True)
        + scale_color_manual(values=dict(zip(models, COLOURS, strict=False)))
        + facet_wrap("better", scales="free", ncol=1)
        + coord_flip()
        + labs(x="", y="", title="Figures with 95 % intervals")
        + house(8, 1.8 + 0.42 * data["metric"].nunique())
    )


def differences(found):
    """What changed against the base, with intervals; those that leave out zero stand out."""
    rows = [{"metric": figure["name"], **figure["difference"]} for figure in found["metrics"] if figure.get("difference")]
    data = pd.DataFrame([row for row in rows if not row["metric"].startswith("perplexity") and None not in row.values()])
    data["clear"] = [1.0 if not row.low <= 0 <= row.high else 0.35 for row in data.itertuples()]
    data["metric"] = _in_order(data["metric"])
    return (
        ggplot(data, aes("value", "metric", alpha="clear"))
        + geom_vline(xintercept=0, color="#8a8f98")
        + geom_errorbarh(aes(xmin="low", xmax="high"), height=0.25, color=DEEP)
        + geom_point(size=2.4, color=DEEP)
        + scale_alpha_identity()
        + labs(x="tuned less base, 95 % interval", y="", title="What training changed", subtitle="faint: could be luck")
        + house(8, 1.4 + 0.3 * len(data))
    )


def confusion(matrix, labels, *, title, square=True):
    """Which class is taken for which: counts, shaded by the share of their true class."""
    rows = [
        {"true": true, "said": said, "count": count, "share": count / max(1, sum(counts))}
        for true, counts in zip(labels, matrix, strict=True)
        for said, count in zip(labels, counts, strict=True)
    ]
    data = pd.DataFrame(rows)
    data["true"], data["said"] = _in_order(data["true"]), pd.Categorical(data["said"], categories=list(labels))
    data["text"] = [f"{row.count_}\n{row.share:.0%}" for row in data.rename(columns={"count": "count_"}).itertuples()]
    made = (
        ggplot(data, aes("said", "true", fill="share"))
        + geom_tile(color="white", size=1.5)
        + geom_text(aes(label="text"), size=9)
        + scale_fill_gradient("#f4f7fb", "#7fb0dc", limits=(0, 1), guide=None)
        + labs(x="judged", y="truly", title=title)
        + house(4.4, 4.4)
        + theme(panel_grid_major_x=element_blank())
    )
    return made + coord_equal() if square else made


def calibration(bins, *, title="Are its probabilities to be believed?"):
    """What was said against what was true, bin by bin; on the diagonal the two are the same."""
    data = pd.DataFrame(bins)
    return (
        ggplot(data, aes("said", "true"))
        + geom_abline(intercept=0, slope=1, color="#8a8f98", linetype="dashed")
        + geom_point(aes(size="rows"), color=DEEP, alpha=0.8)
        + scale_size_area(max_size=6, guide=None)
        + scale_x_continuous(limits=(0, 1))
        + scale_y_continuous(limits=(0, 1))
        + labs(x="probability said", y="share that was so", title=title)
        + house(4.4, 4.4)
    )


def lengths(found):
    """Words of each model's answers beside the reference's: median, middle half, and all but the outer tenth."""
    names = ("least", "low", "middle", "high", "most")
    rows = [{"model": model, **dict(zip(names, each["words"], strict=True))} for model, each in found["lengths"].items()]
    data = pd.DataFrame(rows)
    data["model"] = _in_order(data["model"])
    return (
        ggplot(data, aes("middle", "model"))
        + geom_errorbarh(aes(xmin="least", xmax="most"), height=0.2, color="#8a8f98")
        + geom_segment(aes(x="low", xend="high", yend="model"), size=3.5, color=DEEP, alpha=0.5)
        + geom_point(size=2.6, color=DEEP)
        + labs(x="words an answer", y="", title="How long answers are")
        + house(8, 1.4 + 0.4 * len(data))
    )


def power(discordant=(0.05, 0.1, 0.3)):
    """The least true difference that rows can show, by how many rows there are and on what share of them the models disagree."""
    from src.eval.significance import detectable

    rows = [
        {"rows": count, "points": 100 * detectable(count, discordant=share), "models disagree on": f"{share:.0%}"}
        for share in discordant
        for count in (50, 100, 200, 400, 800, 1600, 3200)
    ]
    data = pd.DataFrame(rows)
    data["models disagree on"] = pd.Categorical(data["models disagree on"], categories=[f"{share:.0%}" for share in discordant])
    return (
        ggplot(data, aes("rows", "points", color="models disagree on"))
        + geom_line()
        + geom_point(size=2)
        + scale_x_log10()
        + scale_color_manual(values=COLOURS[1:])
        + labs(
            x="rows",
            y="points",
            title="What a sample can see",
            subtitle="four times in five, at 95 % confidence; lines: share of rows on which two models disagree",
        )
        + house(8, 3.6)
    )
