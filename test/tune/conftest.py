"""The base, the dataset and the project that the tests of training have."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

_spec = spec_from_file_location("train_conftest", Path(__file__).parents[1] / "train" / "conftest.py")
_train = module_from_spec(_spec)
_spec.loader.exec_module(_train)
tiny, prepare = _train.tiny, _train.prepare


@pytest.fixture
def project(tmp_path, prepare):
    """A function that loads the project with this section `tune`."""
    from src.pipeline import load_project

    prepare(tmp_path)

    def load(*overrides, **section):
        whole = yaml.safe_load(Path("t.yaml").read_text()) | {"tune": section}
        Path("t.yaml").write_text(yaml.safe_dump(whole))
        return load_project("t.yaml", overrides)

    return load
