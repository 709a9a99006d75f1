"""What the evaluation of a model said, and whether its gates let it go."""

from pathlib import Path

from src.core.errors import MlxError
from src.core.manifest import Manifest
from src.core.project import Project
from src.core.stage import folder


def evaluation(project: Project) -> Path | None:
    """The folder of the evaluation of this very training; None where it was not evaluated since."""
    place = folder(project.name, "eval")
    found, model = Manifest.find(place), Manifest.find(folder(project.name, "train"))
    if found is None or model is None:
        return None
    return place if any(origin.fingerprint == model.fingerprint for origin in found.inputs.get("model", ())) else None


def may_go(evaluated: Path | None, *, force: bool) -> None:
    """Refuse a model whose gates failed.

    Raises:
        MlxError: With the gates that failed, unless `force`.
    """
    manifest = Manifest.find(evaluated) if evaluated else None
    if manifest is None or manifest.info.get("verdict") != "fail" or force:
        return
    failed = "; ".join(f"{gate['metric']}: {gate['why']}" for gate in manifest.info["gates"] if gate["verdict"] == "fail")
    raise MlxError(f"this model failed its gates: {failed}", f"see {evaluated}/report.md, train a better one, or export it with --force")
