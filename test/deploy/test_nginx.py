"""The shipped nginx.conf before two gateways that share a Redis: streams as they come, slow and large clients cut off, exact limits."""

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def well(site):
    site.upstream.mood = "well"
    site.upstream.script.clear()
    yield
    for name, start in (("redis", site.start_redis), ("a", lambda: site.start_gateway("a")), ("b", lambda: site.start_gateway("b"))):
        if site.processes[name].poll() is not None:
            start()
            until_answered(site)


def until_answered(site):
    """Wait until nginx finds a gateway again: it passes over one that was gone for two seconds."""
    end = time.monotonic() + 30
    while ask(site, path="/health/live", method="GET")[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def key(site):
    return site.key()


def body(text="Hello", **more):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def ask(site, key=None, path=CHAT, method="POST", data=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", site.nginx, timeout=30)
    given = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if key:
        given["authorization"] = f"Bearer {key}"
    connection.request(method, path, data if data is not None else json.dumps(body()) if method == "POST" else None, given)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, response.headers, json.loads(text) if text.startswith(b"{") else text


def test_a_question_is_answered_and_errors_come_in_one_form(site, key):
    status, headers, answer = ask(site, key)
    assert status == 200 and answer["choices"][0]["message"]["content"] == "The lämp 🌊 is lit."
    assert headers["x-request-id"] and "nginx/" not in headers.get("server", "")
    assert ask(site)[0] == 401
    assert ask(site, path="/health/live", method="GET")[0] == 200
    status, _, told = ask(site, key, data=b"[]")
    assert status == 400 and told["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "path", ["/metrics", "/admin/keys", "/docs", "/v1/../admin/keys", "/v1/%2e%2e/admin/keys", "//admin/keys", "/v1/..%2fadmin/keys", "/"]
)
def test_what_is_for_those_inside_is_shut_to_the_outside(site, path):
    admin = site.key("admin")
    assert ask(site, admin, path=path, method="GET")[0] == 404
    assert ask(site, admin, path="/v1/lineage", method="GET")[0] == 200


def test_a_stream_is_passed_on_chunk_by_chunk(site, key):
    site.upstream.mood = "ticking"
    connection = http.client.HTTPConnection("127.0.0.1", site.nginx, timeout=30)
    connection.request("POST", CHAT, json.dumps(body(stream=True)), {"content-type": "application/json", "authorization": f"Bearer {key}"})
    response = connection.getresponse()
    assert response.headers["content-type"].startswith("text/event-stream")
    times = []
    for _ in range(30):
        while not response.readline().startswith(b"data: "):
            pass
        times.append(time.monotonic())
    assert times[-1] - times[0] > 0.2, "30 events 10 ms apart came at once: something holds them back"
    assert max(b - a for a, b in pairwise(times)) < 0.3
    left = site.upstream.left
    connection.sock.close()
    response.close()
    connection.close()
    end = time.monotonic() + 2
    while site.upstream.left == left:
        assert time.monotonic() < end, "the upstream goes on for a client that has left"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "after",
    [b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ", b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{"],
)
def test_who_sends_a_byte_now_and_then_is_cut_off(site, after):
    with socket.create_connection(("127.0.0.1", site.nginx), timeout=10) as client:
        client.sendall(after)
        start = time.monotonic()
        drip = b"a" if b"slow" in after else b""
        ended = False
        while not ended and time.monotonic() - start < 5:
            try:
                client.sendall(drip)
                client.settimeout(0.2)
                ended = client.recv(500) == b"" or True
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended and time.monotonic() - start < 3


def test_a_hundred_slow_clients_keep_nobody_else_waiting(site, key):
    slow = [socket.create_connection(("127.0.0.1", site.nginx), timeout=10) for _ in range(100)]
    try:
        for each in slow:
            each.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ")
        assert ask(site, key)[0] == 200
    finally:
        for each in slow:
            each.close()


def test_large_requests_are_refused_in_the_same_form(site, key):
    status, _, told = ask(site, key, data=b" " * 2_200_000)
    assert status == 413 and told["error"]["code"] == "body_too_large"
    for length in (20_000, 70_000):
        status, _, told = ask(site, key, x_long="a" * length)
        assert status == 431 and told["error"]["code"] == "headers_too_large", length
    assert ask(site, key, x_long="a" * 8_000)[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked",
        b"content-length: -1",
        b"content-length: 5\r\ncontent-length: 6",
        b"transfer-encoding: gzip",
        b"transfer-encoding : chunked",
        b"bad header: x",
    ],
)
def test_requests_of_two_minds_reach_no_gateway(site, key, head):
    seen = len(site.upstream.seen)
    with socket.create_connection(("127.0.0.1", site.nginx), timeout=10) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "
            + key.encode()
            + b"\r\n"
            + head
            + b"\r\n\r\n0\r\n\r\n"
        )
        answer = client.recv(1000)
    assert answer.split()[1] in (b"400", b"411", b"413", b"501"), answer
    assert len(site.upstream.seen) == seen


def test_limits_are_exact_to_the_request_over_both_gateways(site):
    counted = site.key("counted")
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: ask(site, counted)[0], range(60)))
    assert statuses.count(200) == 20 and statuses.count(429) == 40, statuses
    status, headers, _ = ask(site, counted)
    assert status == 429 and 1 <= int(headers["retry-after"]) <= 60
    shares = [
        sum(1 for line in path.read_text().splitlines() if '"answer"' in line and counted.split("_")[1] in line)
        for path in audit_logs(site)
    ]
    assert len(shares) == 2 and all(shares) and sum(shares) == 20, "one gateway had all of them: nothing was shared"


def audit_logs(site):
    return sorted(site.folder.glob("data/gateway-*/serve/audit/*.jsonl"))


def test_the_audit_log_bears_the_address_of_the_client_and_not_one_it_made_up(site, key):
    ask(site, key, x_forwarded_for="6.6.6.6", forwarded="for=6.6.6.6", x_real_ip="6.6.6.6", x_request_id="spoof-1")
    lines = [line for path in audit_logs(site) for line in path.read_text().splitlines() if "spoof-1" in line]
    assert lines and all(json.loads(line)["client"] == "127.0.0.1" for line in lines)


def test_the_log_of_nginx_holds_no_key_and_no_query(site, key):
    ask(site, key, path=f"/v1/models?api_key={key}", method="GET", x_request_id="logged-1")
    end = time.monotonic() + 5
    while "logged-1" not in (text := (site.folder / "access.log").read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert key not in text and "api_key" not in text
    assert all(json.loads(line)["path"] for line in text.splitlines())


def test_a_gateway_that_dies_costs_what_it_was_at_and_no_question_is_asked_twice(site, key):
    before = len(site.upstream.seen)
    site.upstream.mood = "slow"

    def one(number):
        data = json.dumps(body(user=f"n{number}"))
        try:
            return ask(site, key, data=data)[0]
        except (OSError, http.client.HTTPException):
            return 0

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(one, number) for number in range(40)]
        time.sleep(0.6)
        site.kill("b")
        statuses = [each.result() for each in futures]
    asked = [each["user"] for each in site.upstream.seen[before:]]
    assert len(asked) == len(set(asked)), "a question was asked twice"
    lost = sum(status != 200 for status in statuses)
    assert lost <= 8 and set(statuses) <= {200, 502, 503, 0}, statuses
    assert statuses[-8:] == [200] * 8, "the other gateway takes over"


def test_without_any_gateway_clients_are_told_when_to_come_back(site, key):
    site.kill("a")
    site.kill("b")
    status, headers, told = ask(site, key)
    assert status == 503 and headers["retry-after"] == "2" and told["error"]["code"] == "gateway_unavailable"


def test_without_redis_requests_are_refused_and_counted_again_once_it_is_back(site, key):
    site.kill("redis")
    status, headers, told = ask(site, key)
    assert status == 503 and told["error"]["code"] == "limits_unavailable" and headers["retry-after"]
    site.start_redis()
    end = time.monotonic() + 10
    while ask(site, key)[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.1)
