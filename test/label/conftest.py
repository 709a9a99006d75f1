"""The loopback chat server of the backends' tests."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_spec = spec_from_file_location("llm_conftest", Path(__file__).parents[1] / "llm" / "conftest.py")
_module = module_from_spec(_spec)
_spec.loader.exec_module(_module)
server = _module.server
answer = _module.answer
