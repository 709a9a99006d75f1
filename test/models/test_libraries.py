"""What libraries say goes to the log as a detail, and to the console no more."""

import logging
import warnings


def test_lines_and_warnings_become_details(caplog, capfd):
    from src.models.libraries import routed

    library = logging.getLogger("transformers.trainer")
    handlers = list(logging.getLogger("transformers").handlers)
    with caplog.at_level(logging.DEBUG), routed(), routed():
        library.warning("mind %s", "this")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("and that", stacklevel=1)
    details = {(record.name, record.levelname): record.getMessage() for record in caplog.records}
    assert details[("mlx.transformers", "DEBUG")] == "warning: mind this"
    assert "UserWarning: and that" in details[("mlx.py", "DEBUG")]
    assert capfd.readouterr().err == ""
    assert logging.getLogger("transformers").handlers == handlers
    assert warnings.showwarning.__module__ != "logging"


def test_bars_come_back():
    from transformers.utils import logging as bars

    from src.models.libraries import routed

    shown = bars.is_progress_bar_enabled()
    with routed():
        assert not bars.is_progress_bar_enabled()
    assert bars.is_progress_bar_enabled() == shown
