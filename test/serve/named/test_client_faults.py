"""CLIENT FAULTS and CAPACITY: clients that leave, read slowly or come in hundreds; engines and quotas that run out."""

import http.client
import json
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.access.settings import Access

from .conftest import CHAT, status_of


def memory():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_disconnect_before_the_headers_have_ended(gate):
    for _ in range(20):
        with gate.connect() as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: loc")
    assert gate.works()


def test_disconnect_amid_the_body(gate):
    asked = len(gate.upstream.seen)
    for _ in range(20):
        with gate.connect() as client:
            client.sendall(gate.head("content-type: application/json", "content-length: 100") + b'{"model"')
    assert gate.works() and len(gate.upstream.seen) == asked + 1


@pytest.mark.parametrize(("mood", "stream"), [("silent", False), ("silent", True), ("ticking", True), ("head_then_silent", True)])
def test_disconnect_stops_the_engine_within_half_a_second(gate, mood, stream):
    gate.upstream.mood = mood
    left, asked = gate.upstream.left, len(gate.upstream.seen)
    connection = http.client.HTTPConnection(gate.address.removeprefix("http://"), timeout=10)
    connection.request("POST", CHAT, json.dumps(gate.body(stream=stream)), {"content-type": "application/json", **gate.bearer()})
    gate.web.until(lambda: len(gate.upstream.seen) > asked)
    if mood == "ticking":
        connection.getresponse().read(50)
    gone = time.monotonic()
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    gate.web.until(lambda: gate.upstream.left > left, 3)
    assert gate.upstream.left_at - gone < 0.5


def test_reset_in_place_of_an_end(gate):
    import struct

    gate.upstream.mood = "ticking"
    left = gate.upstream.left
    connection, response = gate.stream()
    response.read(50)
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.sock.close()
    response.close()
    gate.web.until(lambda: gate.upstream.left > left, 3)
    gate.upstream.mood = "well"
    assert gate.works()


def test_slow_reader_takes_no_memory_without_end(gate):
    gate.upstream.mood = "flood"
    before = memory()
    raw = json.dumps(gate.body(stream=True)).encode()
    with gate.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(gate.head("content-type: application/json", f"content-length: {len(raw)}") + raw)
        client.recv(1000)
        time.sleep(2)  # reads nothing more, while the engine writes as fast as it may
        grown = memory() - before
    assert grown < 50e6, f"{grown / 1e6:.0f} MB are held for a client that does not read"
    gate.upstream.mood = "well"
    assert gate.works()


def test_half_open_connection_costs_nobody_anything(gate):
    with gate.connect() as client:
        client.sendall(gate.head("content-type: application/json", "content-length: 10"))
        client.shutdown(socket.SHUT_WR)
        assert gate.works()


def test_half_open_connections_whose_clients_never_come_back_are_let_go(gate):
    """A machine that is gone says nothing more: half a question is given up, and a whole one holds its place no longer than its answer."""
    raw = json.dumps(gate.body()).encode()
    head = [gate.head("content-type: application/json", f"content-length: {len(raw) + more}") + raw for more in (1, 0)]
    asked = len(gate.upstream.seen)
    silent = [gate.connect() for _ in range(60)]
    try:
        for number, each in enumerate(silent):
            each.sendall([*head, b"POST /v1/chat/completions HTTP/1.1\r\n"][number % 3])
        gate.web.until(lambda: len(gate.upstream.seen) == asked + 20)
        health = {"role": None, "path": "/health/ready", "method": "GET"}
        gate.web.until(lambda: gate.ask(**health)[2]["models"]["m"]["inflight"] == 0)
        for each in silent[::3]:
            each.settimeout(10)
            assert status_of(each.recv(1000)) == 408
        assert gate.works()
    finally:
        for each in silent:
            each.close()


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def many_files():
    """Room for both ends of a thousand connections in one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = descriptors() + 2200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip("this machine lets a process have too few files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_idle_connections(gate, many_files):
    before, held = descriptors(), memory()
    idle = [gate.connect() for _ in range(1000)]
    try:
        gate.web.until(lambda: descriptors() >= before + 1900)  # the gateway has taken them; some of what came before may end meanwhile
        start = time.monotonic()
        assert gate.works() and time.monotonic() - start < 2
        assert memory() - held < 60e6
    finally:
        for each in idle:
            each.close()
    gate.web.until(lambda: descriptors() < before + 100, 10)


def test_cancel_while_the_engine_is_asked_frees_the_place(gate):
    key = Keys(gate.folder).create(name="bob", role="user", days=None)[1]
    gate.upstream.mood = "silent"
    left = gate.upstream.left
    for _ in range(5):
        connection = http.client.HTTPConnection(gate.address.removeprefix("http://"), timeout=10)
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        connection.request("POST", CHAT, json.dumps(gate.body()), headers)
        time.sleep(0.1)
        connection.close()
    gate.web.until(lambda: gate.upstream.left == left + 5, 5)
    status, _, told = gate.ask(role=None, path="/health/ready", method="GET")
    assert status == 200 and told["models"]["m"]["inflight"] == 0


def test_quota_is_exact_under_concurrency(gate):
    key = Keys(gate.folder).create(name="tight", role="tight", days=None)[1]

    def one(_):
        return gate.ask(role=None, authorization=f"Bearer {key}")[0]

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(one, range(40)))
    assert (statuses.count(200), statuses.count(429)) == (10, 30)


def test_quota_is_no_overspend_of_tokens(web, guarded_engine, tmp_path):
    """Each question may need some 360 tokens and there are 1,200: three at once may go, whatever they then use."""
    upstream, gateway = guarded_engine
    upstream.mood = "slow"
    access = Access.model_validate({"roles": {"user": {"tokens_per_minute": 1200}}, "audit": None})
    key = Keys(tmp_path).create(name="ann", role="user", days=None)[1]
    with web.running(gateway, guard=open_guard(access, tmp_path)) as address, ThreadPoolExecutor(10) as pool:
        asked = {"model": "m", "messages": [{"role": "user", "content": "a"}], "max_tokens": 10}
        statuses = list(pool.map(lambda _: web.ask(address, asked, authorization=f"Bearer {key}")[0], range(10)))
    assert statuses.count(200) == 3 and statuses.count(429) == 7, statuses
    assert len(upstream.seen) == 3


@pytest.fixture
def guarded_engine():
    from src.serve.engines.openai import OpenAIEngine
    from src.serve.gateway.gateway import Gateway
    from src.serve.gateway.model import Model

    from .conftest import faulty

    with faulty.Faulty().running() as upstream:
        part = OpenAIEngine(type="openai", url=upstream.url, model="m", retries=0, max_inflight=3, failures=3, rest=5)
        yield upstream, Gateway({"m": Model("m", part.open(None, name="m", max_new_tokens=None, log=Path("log")), part)})


def test_full_engine_sends_away_with_a_time_to_come_back(web, guarded_engine):
    upstream, gateway = guarded_engine
    upstream.mood = "slow"
    asked = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
    with web.running(gateway) as address, ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: web.ask(address, asked), range(10)))
    refused = [(headers["retry-after"], told["error"]["code"]) for status, headers, told in answers if status == 503]
    assert len(refused) == 7 and set(refused) == {("1", "overloaded")} and len(upstream.seen) == 3


def test_all_models_down_is_told_with_reasons_and_health_says_so(web, guarded_engine):
    upstream, gateway = guarded_engine
    upstream.mood = "broken"
    asked = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
    with web.running(gateway) as address:
        for _ in range(3):
            assert web.ask(address, asked)[0] in (502, 503)
        status, headers, told = web.ask(address, asked)
        assert status == 503 and "m failed too often" in told["error"]["message"] and int(headers["retry-after"]) <= 5
        assert web.ask(address, path="/health", method="GET")[0] == 503


def test_limits_begin_anew_with_the_server_and_keys_stay(web, guarded_engine, tmp_path):
    access = Access.model_validate({"roles": {"user": {"requests_per_minute": 2}}, "audit": None})
    key = Keys(tmp_path).create(name="ann", role="user", days=None)[1]
    asked = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
    for _ in range(2):
        with web.running(guarded_engine[1], guard=open_guard(access, tmp_path)) as address:
            assert [web.ask(address, asked, authorization=f"Bearer {key}")[0] for _ in range(3)] == [200, 200, 429]


def test_a_b_o_l_a_who_asks_for_anothers_data_is_told_of_none(gate):
    for path in ("/v1/memory", "/v1/files/1", "/v1/responses/1", "/v1/conversations/1"):
        assert gate.ask(path=path, method="GET")[0] in (403, 404)


def test_head_and_options_tell_no_more_than_get(gate):
    for method in ("HEAD", "OPTIONS"):
        assert status_of(gate.said(gate.head(method=method, path=CHAT), wait=0.5)) in (404, 405)
