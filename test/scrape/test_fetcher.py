"""A real HTTP server on this machine; private addresses are allowed only where a test says so."""

import socket
import time
from email.message import Message
from email.utils import formatdate

import pytest

from src.scrape import addresses
from src.scrape.addresses import RefusedError, connect, is_public
from src.scrape.fetcher import Fetcher, FetchFailedError, NotFoundError
from src.scrape.http_cache import HttpCache, lifetime


def guest(**settings):
    slept = []
    found = Fetcher(**({"delay": 0, "timeout": 5, "max_mb": 1, "allow_private": True, "sleep": slept.append} | settings))
    found.slept = slept
    return found


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(address) == public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "169.254.169.254"])
def test_private_addresses_are_refused_however_they_are_spelt(host, site):
    with pytest.raises(FetchFailedError, match="not a public address; set allow_private") as error:
        guest(allow_private=False).get(f"http://{host}:{site.server.server_port}/a")
    assert not error.value.reached
    assert not site.asked


def test_one_private_address_among_public_ones_is_enough(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(RefusedError, match=r"10\.0\.0\.1"):
        connect(("rebinding.example", 80))


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch):
    asked = []

    def look_up(*args, **_):
        asked.append(args)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 80))]

    def open_to(place, *_):
        asked.append(place)
        raise TimeoutError("no way there")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(addresses.socket, "create_connection", open_to)
    with pytest.raises(TimeoutError):
        connect(("site.example", 80), 1)
    assert asked == [("site.example", 80), ("93.184.216.34", 80)]


def test_a_redirect_to_a_private_address_is_refused(site, monkeypatch):
    site.put("/a", (302, {"Location": "http://169.254.169.254/latest/meta-data"}, b""))
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda ip: ip == "127.0.0.1" or real(ip))
    with pytest.raises(FetchFailedError, match=r"169\.254\.169\.254"):
        guest(allow_private=False).get(f"{site.url}/a")


def test_redirects_and_requests_stay_with_the_hosts_of_the_source(site):
    site.put("/a", (302, {"Location": f"http://localhost:{site.server.server_port}/b"}, b""))
    fetcher = guest(hosts=["127.0.0.1"])
    for url in (f"{site.url}/a", "http://other.example/", "file:///etc/passwd", "https://www.gutenberg.org/x"):
        with pytest.raises(FetchFailedError, match="not for programs"):
            fetcher.get(url)


def test_no_proxy_is_used_unless_asked_for(site, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    site.put("/a", b"text")
    assert guest().get(f"{site.url}/a") == b"text"
    with pytest.raises(FetchFailedError, match="refused"):
        guest(proxy=True, tries=1).get("http://93.184.216.34/a")


def test_hidden_parameters_are_sent_and_are_in_no_message_and_no_cache(site, tmp_path):
    site.put("/a?q=1&key=hush", (200, {"Cache-Control": "max-age=60"}, b"text"))
    site.put("/b?key=hush", (400, {}, b"{}"))
    fetcher = guest(cache=HttpCache(tmp_path))
    assert fetcher.get(f"{site.url}/a?q=1", hidden={"key": "hush"}) == b"text"
    assert fetcher.get(f"{site.url}/a?q=1", hidden={"key": "other"}) == b"text"
    with pytest.raises(FetchFailedError) as error:
        fetcher.get(f"{site.url}/b", hidden={"key": "hush"})
    assert "hush" not in str(error.value)
    assert not any(b"hush" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(site.asked) == 2


def test_the_wait_that_a_body_asks_for(site):
    site.put("/a", (429, {}, b"one minute"), b"text")
    fetcher = guest()
    assert fetcher.get(f"{site.url}/a", wait=lambda body: 60.0 if body == b"one minute" else 0) == b"text"
    assert fetcher.slept == [60]


def test_a_fresh_answer_is_not_asked_for_again_by_the_next_run(site, tmp_path):
    site.put("/a", (200, {"Cache-Control": "max-age=60"}, b"text"))
    for _ in range(2):
        assert guest(cache=HttpCache(tmp_path)).get(f"{site.url}/a") == b"text"
    assert site.asked == ["/a"]


def test_a_stale_answer_is_asked_about_with_a_condition(site, tmp_path):
    old = {"ETag": '"v1"', "Last-Modified": "Thu, 01 Jan 1970 00:00:09 GMT", "Cache-Control": "no-cache"}
    site.put("/a", (200, old, b"text"), (304, {"Cache-Control": "max-age=60"}, b""), (200, {}, b"new"))
    for _ in range(3):
        assert guest(cache=HttpCache(tmp_path)).get(f"{site.url}/a") == b"text"
    assert len(site.asked) == 2
    assert site.headers[1]["If-None-Match"] == '"v1"'
    assert site.headers[1]["If-Modified-Since"] == old["Last-Modified"]


def test_a_changed_answer_takes_the_place_of_the_old(site, tmp_path):
    site.put("/a", (200, {"ETag": "1"}, b"old"), (200, {"ETag": "2"}, b"new"))
    assert [guest(cache=HttpCache(tmp_path)).get(f"{site.url}/a") for _ in range(2)] == [b"old", b"new"]


def test_what_may_not_be_kept_or_is_damaged_is_fetched_again(site, tmp_path):
    site.put("/a", (200, {"Cache-Control": "no-store", "ETag": "1"}, b"text"))
    site.put("/b", b"no word about keeping it")
    site.put("/c", (200, {"Cache-Control": "max-age=60"}, b"text"))
    for path in "abc":
        guest(cache=HttpCache(tmp_path)).get(f"{site.url}/{path}")
    (kept,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    kept.write_bytes(b"{half")
    assert guest(cache=HttpCache(tmp_path)).get(f"{site.url}/c") == b"text"
    assert site.asked == ["/a", "/b", "/c", "/c"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"Cache-Control": "public, max-age=60"}, 60),
        ({"Cache-Control": "max-age=60, no-cache"}, 0),
        ({"Expires": "0"}, 0),
        ({"Date": formatdate(1000), "Expires": formatdate(1090)}, 90),
        ({"Date": formatdate(1000), "Last-Modified": formatdate(0)}, 0),
        ({"Date": formatdate(2000), "Last-Modified": formatdate(1000)}, 100),
        ({"Date": formatdate(time.time()), "Last-Modified": formatdate(1000)}, 7 * 86400),
    ],
)
def test_how_long_an_answer_is_fresh(headers, seconds):
    message = Message()
    for name, value in headers.items():
        message[name] = value
    assert lifetime(message) == seconds


def test_gone_is_not_found(site):
    with pytest.raises(NotFoundError):
        guest().get(f"{site.url}/away")
