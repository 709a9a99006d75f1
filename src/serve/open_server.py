"""Makes a server process from the settings: the door, the models, the app, the control plane."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from src.core.run import Run
from src.serve.access.conversations import Conversations
from src.serve.access.open_guard import open_guard
from src.serve.app import application
from src.serve.control.control import Control
from src.serve.control.lineage import made_from
from src.serve.open_gateway import open_gateway
from src.serve.route import Patience
from src.serve.server import Server

if TYPE_CHECKING:
    from src.models.trained import Trained
    from src.serve import ServeConfig

LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


def open_server(config: "ServeConfig", run: Run, trained: "Trained | None", *, beside: Mapping[str, str] | None = None) -> Server:
    """Make the server; nothing answers before it runs.

    Args:
        config: The settings.
        run: Whose folder keys, audit log and conversations lie in.
        trained: The project's own model, if it is served.
        beside: Addresses of engines that another process keeps, by the name of their model.

    Raises:
        MlxError: Where a key, a training or a program is missing.
    """
    from src.serve import loopback

    guard = open_guard(config.access, run.output) if config.access else None
    asked = config.log_conversations
    conversations = Conversations(asked, run.output / "conversations") if asked and asked.consent else None
    gateway = open_gateway(config, trained, project=run.name, output=run.output, beside=beside or {})
    behind = {name: made_from(model.folder) for name, model in gateway.models.items() if model.folder}
    control = Control(gateway, guard, folder=run.output, config=config, reread=run.reread, lineage=behind)  # type: ignore[arg-type]
    app = application(
        gateway,
        max_body=int(config.max_body_mb * 1e6),
        hosts=None if config.allow_remote or not loopback(config.host) else LOCAL | {config.host},
        failed=lambda error: server.fail(error),
        guard=guard,
        max_headers=int(config.max_header_kb * 1e3),
        patience=Patience(config.body_timeout, config.request_timeout),
        conversations=conversations,
        page=config.page,
        control=control,
    )
    server = Server(app, proxies=config.trusted_proxies)
    return server
