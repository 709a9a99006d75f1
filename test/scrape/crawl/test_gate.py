import base64
import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from src.scrape.crawl.gate import Gate
from src.scrape.crawl.guard import Guard


@pytest.fixture
def gate() -> Iterator[tuple[str, int, dict[str, str]]]:
    """A gate that lets through to 127.0.0.1 alone: its host, its port, and what says who one is."""
    opened = Gate(Guard(["127.0.0.1/32"]), timeout=2, limit=1 << 20).open()
    key = base64.b64encode(f"{opened['username']}:{opened['password']}".encode()).decode()
    return "127.0.0.1", int(opened["server"].rpartition(":")[2]), {"Proxy-Authorization": f"Basic {key}"}


def asked(gate, url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(gate[0], gate[1], timeout=5)
    connection.request("GET", url, headers={**gate[2], **headers})
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def test_what_is_open_is_passed_on_once_a_connection(gate, site) -> None:
    site.pages["/a?b=1"] = b"text"
    status, body, headers = asked(gate, f"{site.url}/a?b=1", Connection="keep-alive")
    assert (status, body, headers["Connection"]) == (200, b"text", "close")


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "169.254.169.254", "10.0.0.1"])
def test_what_is_private_is_refused(gate, site, host: str) -> None:
    assert asked(gate, f"http://{host}:{site.port}/")[0] == 403
    assert not site.log


def test_nobody_else_gets_by(gate, site) -> None:
    assert asked((*gate[:2], {}), site.url)[0] == 407
    assert asked((*gate[:2], {"Proxy-Authorization": "Basic eDp5"}), site.url)[0] == 407
    assert not site.log


def tunnel(gate, target: str) -> tuple[socket.socket, bytes]:
    way = socket.create_connection(gate[:2], timeout=5)
    way.sendall(f"CONNECT {target} HTTP/1.1\r\nProxy-Authorization: {gate[2]['Proxy-Authorization']}\r\n\r\n".encode())
    return way, way.recv(4096)


def test_tunnels_go_where_the_guard_lets_them(gate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def echo() -> None:
            with server.accept()[0] as peer:
                peer.sendall(peer.recv(100).upper())

        thread = threading.Thread(target=echo)
        thread.start()
        way, answer = tunnel(gate, f"127.0.0.1:{port}")
        assert b" 200 " in answer
        way.sendall(b"hello")
        assert way.recv(100) == b"HELLO"
        way.close()
        thread.join()
        way, answer = tunnel(gate, f"127.0.0.2:{port}")
        assert b" 403 " in answer
        way.close()


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\nProxy-Authorization: KEY\r\n\r\n",
        b"GET http://unknown.invalid/ HTTP/1.1\r\nProxy-Authorization: KEY\r\n\r\n",
    ],
)
def test_nonsense_ends_the_connection(gate, said: bytes) -> None:
    with socket.create_connection(gate[:2], timeout=5) as way:
        way.sendall(said.replace(b"KEY", gate[2]["Proxy-Authorization"].encode()))
        assert way.recv(100)[:12] in (b"", b"HTTP/1.1 407", b"HTTP/1.1 403")
