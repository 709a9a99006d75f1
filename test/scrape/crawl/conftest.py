"""A site on this machine with everything the web does to a crawler, and a log of what was asked of it."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

Answer = tuple[int, dict[str, str], bytes]


def html(title: str, *links: str, head: str = "", text: str | None = None) -> bytes:
    told = f"{title} tells of the sea, of the weather in the harbour, and of the people who wait there for a ship to come home. "
    story = "".join(f"<p>{told * 2}This is part {number} of it.</p>" for number in range(4)) if text is None else text
    anchors = "".join(f'<a href="{link}">on</a> ' for link in links)
    return (
        f"<html lang='en'><head><title>{title}</title>{head}</head>"
        f"<body><article><h1>{title}</h1>{story}</article><nav>{anchors}</nav></body></html>"
    ).encode()


class Site:
    """Answers by path: bytes of a page, a whole answer, or what makes one from how often it was asked."""

    def __init__(self) -> None:
        self.log: list[tuple[float, str, str, int]] = []
        self.pages: dict[str, bytes | Answer | Callable[[int], Answer]] = {"/robots.txt": (404, {}, b"")}
        self.agents: set[str] = set()
        self.latency = 0.0
        self._lock = threading.Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass  # the crawler hangs up on what is too large or too slow

        self.server = Server(("0.0.0.0", 0), Handler)  # also 127.0.0.2, .3: other hosts
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        with self._lock:
            self.log.append((time.time(), handler.headers["Host"].split(":")[0], path, 0))
            self.agents.add(handler.headers["User-Agent"])
            times = self.asked(path)
        found = self.pages.get(path, (404, {}, b"no"))
        if isinstance(found, bytes):
            found = (200, {}, found)
        time.sleep(self.latency)
        status, headers, body = found(times) if callable(found) else found
        handler.send_response(status)
        for name, value in ({"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        if headers.get("Connection") == "close":
            handler.close_connection = True

    def asked(self, path: str) -> int:
        return sum(each[2] == path for each in self.log)

    @property
    def paths(self) -> list[str]:
        return [each[2] for each in self.log]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    yield found
    found.close()


@pytest.fixture
def page() -> Callable[..., bytes]:
    return html


@pytest.fixture
def packed() -> Callable[[bytes], bytes]:
    return gzip.compress
