"""MODEL and PATH: whose names are looked up, what answers to them, and what of an archive could ever be written where."""

import ast
import asyncio
import json
import socket
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from src.serve.engines.openai import OpenAIEngine
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model

from .conftest import faulty

SOURCE = Path(__file__).parents[3] / "src"
INSIDE = [
    "http://169.254.169.254/latest/meta-data/",
    "http://rebinds.evil.example/x.png",
    "http://[::ffff:127.0.0.1]:1/x.png",
    "http://2130706433/x.png",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
]


class Noting(asyncio.SelectorEventLoop):
    """A loop that notes what is looked up, and whereto connections are made."""

    hosts: list[str] = []  # noqa: RUF012 (of one test)
    looked: list[str] = []  # noqa: RUF012
    made: list[str] = []  # noqa: RUF012
    names: dict[str, list[str]] = {}  # noqa: RUF012
    """Addresses of made-up names, each for one look-up; the last one stays."""

    async def create_connection(self, factory, host=None, port=None, **more):
        if host:
            self.hosts.append(host)
        return await super().create_connection(factory, host, port, **more)

    async def getaddrinfo(self, host, port, **more):
        self.hosts.append(host)
        if known := self.names.get(host):
            host = known.pop(0) if len(known) > 1 else known[0]
            self.looked.append(host)
        return await super().getaddrinfo(host, port, **more)

    async def sock_connect(self, sock, address):
        self.made.append(address[0])
        return await super().sock_connect(sock, address)


def clients(listening):
    """Each that comes, until nobody listens any more."""
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        with client:
            yield client


@pytest.fixture
def noted(monkeypatch):
    """What a server in this process looks up and connects to."""
    for name, empty in (("hosts", []), ("looked", []), ("made", []), ("names", {})):
        monkeypatch.setattr(Noting, name, empty)
    monkeypatch.setattr(uvicorn.Config, "get_loop_factory", lambda self: Noting)
    return Noting


@contextmanager
def serving(web, url, **more):
    part = OpenAIEngine(type="openai", url=url, model="m", retries=0, connect_timeout=2, first_byte_timeout=5, failures=1000, **more)
    engine = part.open(None, name="keeper", max_new_tokens=None, log=Path("log"))
    with web.running(Gateway({"keeper": Model("keeper", engine, part)})) as address:
        yield address


def test_no_name_that_a_client_sends_is_ever_looked_up(web, noted):
    """So there is nothing to rebind: a check of a name that is looked up again when it is used has no place here."""
    with faulty.Faulty(mood="closes").running() as upstream, serving(web, upstream.url) as address:
        for url in INSIDE:
            parts = [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": url},
                {"type": "file", "file": {"file_data": url}},
            ]
            tools = [{"type": "function", "function": {"name": "f", "parameters": {"$ref": url}}}]
            body = web.chat(messages=[{"role": "user", "content": parts}], tools=tools, metadata={"callback": url}, user=url)
            heads = {"x_forwarded_host": "evil.example", "referer": url, "origin": url, "x_mlx_url": url, "forwarded": "host=evil.example"}
            assert web.ask(address, body, **heads)[0] in (200, 400)
            assert web.ask(address, web.chat(model=url))[0] in (400, 404)
        assert web.ask(address, web.chat())[0] == 200 and len(noted.made) >= 2
    assert set(noted.hosts) == set(noted.made) == {"127.0.0.1"}, "the address of the settings, and nothing else"


def test_a_name_that_rebinds_is_the_operators_and_a_connection_goes_where_it_was_looked_up(web, noted):
    """Addresses of engines are the operator's, and so is their DNS: one look-up a connection, and that is where it goes."""
    noted.names["engine.test"] = ["127.0.0.1", "127.0.0.1", "127.0.0.2"]
    with faulty.Faulty(mood="closes").running() as upstream, serving(web, f"http://engine.test:{upstream.port}/v1") as address:
        statuses = [web.ask(address, web.chat())[0] for _ in range(3)]  # each of these has a connection of its own
    assert statuses == [200, 200, 503], "nobody listens at the third address"
    assert noted.made == noted.looked == ["127.0.0.1", "127.0.0.1", "127.0.0.2"], "who looked twice would go elsewhere than it looked"


@pytest.fixture
def impostor(tmp_path):
    """A TLS server with a certificate that nobody vouches for; what it is told."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False).sign(key, hashes.SHA256())
    file = tmp_path / "impostor.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    told = []

    def serve(listening):
        for client in clients(listening):
            try:
                with context.wrap_socket(client, server_side=True) as safe:
                    told.append(safe.recv(65_536))
            except OSError:
                told.append(b"")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield f"https://localhost:{listening.getsockname()[1]}/v1", told
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_name_that_leads_to_an_impostor_gets_no_key_and_no_word(web, impostor, monkeypatch):
    url, told = impostor
    monkeypatch.setenv("UPSTREAM_API_KEY", "canary-" + "k" * 30)
    with serving(web, url, key_env="UPSTREAM_API_KEY") as address:
        status, _, body = web.ask(address, web.chat())
    assert status == 503 and "certificate" not in json.dumps(body).lower()
    assert told and not any(told), "somebody whose certificate nobody vouches for was told something"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_no_probe_follows_a_redirect(status):
    asked = []

    def serve(listening):
        for client in clients(listening):
            asked.append(client.recv(65_536))
            client.sendall(f"HTTP/1.1 {status}\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        part = OpenAIEngine(type="openai", url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1", model="m")
        engine = part.open(None, name="m", max_new_tokens=None, log=Path("log"))

        async def probed():
            await engine.run()
            try:
                return await engine.probe()
            finally:
                await engine.stop()

        assert asyncio.run(probed()) is None
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert len(asked) == 1


def test_zip_slip_cannot_arise():
    """Nothing opens an archive: .gz and .zst hold one stream, and nothing is written by a name that stands in them."""
    opening = {"zipfile", "tarfile", "zipimport", "rarfile", "py7zr", "libarchive", "patoolib"}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & opening, f"{path}: an archive is opened: show that its names stay inside"
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            assert called not in ("unpack_archive", "extractall", "allow_pickle"), f"{path}:{node.lineno}"


def test_an_archive_in_a_memory_is_no_memory(tmp_path):
    import zipfile

    from src.serve.memory.files import Files

    bank = tmp_path / "bank"
    bank.mkdir()
    with zipfile.ZipFile(bank / "notes.md.zip", "w") as archive:
        archive.writestr("../../escaped.md", "out")
    (bank / "fine.md").write_text("# In\n")
    read = Files(bank, 1_000_000).read()
    assert set(read.texts) == {"fine.md"} and not list(tmp_path.glob("**/escaped.md"))
