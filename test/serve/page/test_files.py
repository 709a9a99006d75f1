"""The page's files: what they are sent with, and what they do not hold."""

import re

import pytest

from src.serve.page.page import Page

from ..access.conftest import Scripted  # noqa: TID252 (one engine for all doors)


@pytest.fixture(scope="module")
def address(web):
    with web.running(Scripted()) as address:
        yield address


def get(web, address, path, method="GET", **headers):
    return web.ask(address, path=path, method=method, **headers)


def test_it_comes_with_a_policy_that_runs_nothing_but_its_files(web, address):
    status, headers, text = get(web, address, "/ui/")
    assert status == 200 and headers["content-type"].startswith("text/html") and "<title>mlx</title>" in text
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["trusted-types"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'" and "unsafe" not in str(policy)
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert get(web, address, "/ui")[1]["location"] == "ui/"


def test_only_its_own_files_are_there(web, address):
    for path in (
        "/ui/../page.py",
        "/ui/%2e%2e/page.py",
        "/ui/page.py",
        "/ui/__init__.py",
        "/ui/a/b",
        "/ui//etc/passwd",
        "/ui/index.html%00",
    ):
        assert get(web, address, path)[0] == 404, path
    assert get(web, address, "/ui/", "POST")[0] == 405
    assert get(web, address, "/uix")[0] == 404
    for name, (data, _) in Page().files.items():
        status, headers, _ = get(web, address, f"/ui/{name}")
        assert status == 200 and int(headers["content-length"]) == len(data)
        assert get(web, address, f"/ui/{name}", if_none_match=headers["etag"])[0] == 304


def test_it_can_be_switched_off(web):
    with web.running(Scripted(), page=False) as address:
        assert get(web, address, "/ui/")[0] == 404


def test_its_files_hold_nothing_that_the_policy_forbids_and_stay_small():
    files = {name: data.decode() for name, (data, _) in Page().files.items()}
    for name, text in files.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\sstyle=|\son\w+=\"", text), (
            name
        )
        assert not re.findall(r"https?://(?!www\.w3\.org)[\w.]+", text.replace("https?://", "")), name
    assert sum(map(len, files.values())) < 100_000
    named = set(re.findall(r"""(?:href|src|from)=?\s?"(?:\./)?([\w.]+\.(?:js|css|svg))\"""", " ".join(files.values())))
    assert named == set(files) - {"index.html"}, "a file that nothing names, or a name without a file"
