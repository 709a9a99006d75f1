"""What the report says of the style judges: their own test, before what they say of a model."""

from collections.abc import Iterator, Mapping
from typing import Any

from src.eval.blocks import Block, Bullets, Prose


def style_blocks(detail: Mapping[str, Any]) -> Iterator[Block]:
    """How they were tested, how often they were right, and what they go by."""
    held = "whole documents held out" if detail["grouped_by_source"] else "pieces held out, since a voice has but one document"
    low, high = detail["accuracy_interval"]
    yield Prose(
        f"Tested in {detail['folds']} folds with {held}: accuracy {detail['accuracy']:.3f} [{low:.3f}, {high:.3f}], "
        f"balanced {detail['balanced_accuracy']:.3f}, F1 {detail['f1']:.3f}, ROC-AUC {detail['roc_auc']:.3f}, on "
        f"{detail['pieces']['persona']} pieces in the persona's voice from {detail['documents']['persona']} documents and "
        f"{detail['pieces']['other']} others from {detail['documents']['other']}."
    )
    yield Prose(
        f"Its bar of {detail['bar']:.2f} lets {detail['above_bar']['persona']:.1%} of the persona's unseen pieces through, "
        f"and {detail['above_bar']['other']:.1%} of the others."
    )
    yield Bullets(list(_what_it_goes_by(detail)))
    if "reference" in detail:
        yield Prose(f"It gives {detail['reference']:.1%} of the reference answers to the persona: more can hardly be asked of a model.")


def _what_it_goes_by(detail: Mapping[str, Any]) -> Iterator[str]:
    matched, calibration, delta = detail["matched"], detail["calibration"], detail["delta"]
    yield (
        f"Does it go by topics? With all but the commonest words starred its balanced accuracy is "
        f"{detail['without_content']['balanced_accuracy']:.3f}; on the {matched['pairs']} pairs nearest in topic its accuracy is "
        f"{matched['accuracy']:.3f} (likeness {matched['likeness']:.2f}, of any two {matched['any']:.2f})."
    )
    yield (
        f"Are its probabilities to be believed? Off by {calibration['ece']:.3f} in the mean (expected calibration error; "
        f"{calibration['before']['ece']:.3f} before they were calibrated), Brier score {calibration['brier']:.3f}."
    )
    said = f", and gives {delta['reference']:.1%} of the reference answers to the persona" if "reference" in delta else ""
    yield f"Burrows' Delta, by common words alone: balanced accuracy {delta['balanced_accuracy']:.3f}, F1 {delta['f1']:.3f}{said}."
