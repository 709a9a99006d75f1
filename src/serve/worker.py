"""One worker of a server, run as `python -m src.serve.worker`: what it serves comes as JSON on its standard input."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from src.core.errors import MlxError
from src.core.log import console, logged_to
from src.core.secrets import load_env
from src.serve import ServeConfig, passed, serve


def work(told: dict[str, Any]) -> None:
    """Serve until SIGTERM.

    Args:
        told: `project` (its file, and overrides), `socket` and `ready` (descriptors: where to answer, and where to say that
            it does), `beside` (addresses of engines that others keep, by the name of their model), `log` (a file).
    """
    from src.serve.access.json_log import json_lines
    from src.serve.open_server import open_server

    file, *overrides = told["project"]
    project = serve.load(file, *overrides)
    config = project.section("serve")
    assert isinstance(config, ServeConfig)  # noqa: S101 (for the type checker)
    with logged_to(Path(told["log"])), json_lines(config.log_format == "json"):
        run = serve.again(project)
        trained = passed(run, config) if config.engine else None
        server = open_server(config, run, trained, beside=told["beside"])
        server.ready = lambda: _say(told["ready"])
        server.run(sockets=[socket.socket(fileno=told["socket"])])


def _say(ready: int) -> None:
    os.write(ready, b"1")
    os.close(ready)


def main() -> None:
    """Serve, or say in a line why that cannot be."""
    load_env()
    console()
    try:
        work(json.load(sys.stdin))
    except MlxError as error:
        sys.stderr.write(f"error: {error}" + (f"\n  {error.hint}" if error.hint else "") + "\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
