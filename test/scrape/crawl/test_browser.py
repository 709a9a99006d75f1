import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from src.core.errors import MlxError
from src.scrape.crawl import browser
from src.scrape.crawl.browser import browser_settings, chromium, unwanted
from src.scrape.crawl.guard import Guard
from src.scrape.web import WebSource


@pytest.fixture
def no_chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROMIUM_PATH", raising=False)
    monkeypatch.setattr(browser.shutil, "which", lambda _: None)
    monkeypatch.setattr(browser, "find_spec", lambda _: "there")


def test_a_missing_chromium_is_said_before_anything_is_fetched(no_chromium: None) -> None:
    (piece,) = WebSource(start="http://a.example/", javascript=True).pieces(Path("w"), Path("c"))
    with pytest.raises(MlxError, match="needs a Chromium") as error:
        list(piece.make())
    assert "CHROMIUM_PATH" in error.value.hint


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "find_spec", lambda _: None)
    with pytest.raises(MlxError, match="scrapy-playwright"):
        chromium()


class Request:
    def __init__(self, kind: str, url: str) -> None:
        self.resource_type, self.url = kind, url


def test_what_no_text_comes_from_is_not_loaded() -> None:
    wanted = [("script", "http://a.example/"), ("fetch", "https://a.example/"), ("document", "data:text/html,x")]
    left = [("image", "http://a.example/"), ("font", "https://a.example/"), ("script", "file:///etc/passwd"), ("fetch", "ftp://a.example/")]
    assert [unwanted(Request(*each)) for each in wanted + left] == [False] * 3 + [True] * 4


def test_all_ways_out_lead_through_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "find_spec", lambda _: "there")
    fake = Path("chromium")
    fake.touch(mode=0o755)
    monkeypatch.setenv("CHROMIUM_PATH", str(fake))
    made = browser_settings(Guard(True), timeout=3, limit=1)["PLAYWRIGHT_LAUNCH_OPTIONS"]
    assert made["executable_path"] == str(fake)
    assert made["proxy"]["server"].startswith("http://127.0.0.1:")
    assert made["proxy"]["bypass"] == "<-loopback>"
    assert "--disable-quic" in made["args"]


@pytest.fixture
def real_chromium() -> None:
    try:
        chromium()
    except MlxError as error:
        pytest.skip(f"{error}: {error.hint}")


WORDS = "Words that only a script writes, about the sea and the harbour. " * 20
WRITES = """<html><body><main id=m></main>{links}
<script>fetch('/data').then(r => r.text()).then(t => m.innerHTML = '<p>' + t + '</p>')</script></body></html>"""
EVIL = """<html><head><link rel=prefetch href="BAD/prefetch"><link rel=stylesheet href="BAD/css"></head>
<body><article><p>WORDS</p></article>
<script src="BAD/script"></script><script src="/hop"></script><iframe src="BAD/frame"></iframe><iframe src="/hop"></iframe><script>
for (let url of ['BAD/fetch', '/hop', 'http://2130706434:PORT/number', 'http://[::1]:PORT/six', 'https://127.0.0.2:PORT/tls', 'file:///etc/passwd'])
  fetch(url, {mode: 'no-cors'}).catch(() => 0);
try { new WebSocket('ws://127.0.0.2:PORT/socket') } catch (e) {}
new EventSource('BAD/events'); navigator.sendBeacon('BAD/beacon', 'x'); window.open('BAD/open');
new Worker(URL.createObjectURL(new Blob(["fetch('BAD/worker', {mode: 'no-cors'})"])));
</script></body></html>"""


@pytest.mark.slow
def test_scripts_write_the_page_and_reach_nothing_private(site, real_chromium: None) -> None:
    private = f"http://127.0.0.2:{site.port}"
    names = ("evil", "moved", "jump", "hang", "down", "big")
    site.pages |= {
        "/": WRITES.format(links="".join(f"<a href='/{name}'>on</a>" for name in names)).encode(),
        "/data": WORDS.encode(),
        "/evil": EVIL.replace("BAD", private).replace("PORT", str(site.port)).replace("WORDS", WORDS).encode(),
        "/hop": (302, {"Location": f"{private}/hopped"}, b""),
        "/moved": (302, {"Location": f"{private}/moved"}, b""),
        "/jump": f"<p>{WORDS}</p><script>location='{private}/jumped'</script>".encode(),
        "/hang": f"<p>{WORDS}</p><script>setTimeout(() => {{ while (true) {{}} }}, 50)</script>".encode(),
        "/down": (200, {"Content-Disposition": "attachment", "Content-Type": "application/octet-stream"}, b"x" * 1000),
        "/big": f"<p>{WORDS}</p><script>document.body.append('y'.repeat(3000000))</script>".encode(),
    }
    settings = {"start": site.url, "allow_private": ["127.0.0.1/32"], "delay": 0, "workers": 1, "timeout": 4, "max_page_mb": 2, "tries": 1}

    def crawled(name: str, **more) -> dict:
        (piece,) = WebSource(**settings, **more).pieces(Path(name), Path("c"))
        return {each.id.rpartition("/")[2]: getattr(each, "reason", None) or each.text for each in piece.make()}

    assert "only a script" not in crawled("plain", depth=0)[""]
    found = crawled("rendered", javascript=True)
    assert "only a script" in found[""]
    assert "only a script" in found["evil"]
    assert {name: found[name] for name in names if name != "evil"} == {
        "moved": "private_address",
        "jump": "private_address",
        "hang": "timeout",
        "down": "not_html",
        "big": "too_large",
    }
    assert {host for _, host, *_ in site.log} == {"127.0.0.1"}


def browsers() -> set[int]:
    return {each.pid for each in psutil.process_iter(["name"]) if "chrom" in (each.info["name"] or "")}


@pytest.mark.slow
def test_the_browser_ends_with_a_killed_parent_and_the_crawl_goes_on(site, page, real_chromium: None) -> None:
    site.pages["/"] = page("Start", *(f"/{number}" for number in range(8)))
    site.pages |= {f"/{number}": page(f"Page {number}") for number in range(8)}
    site.latency = 0.2
    Path("crawl.py").write_text(f"""
import sys
sys.path.insert(0, {str(Path(browser.__file__).parents[3])!r})
from pathlib import Path
from src.scrape.web import WebSource
if __name__ == "__main__":
    settings = dict(javascript=True, allow_private=True, delay=0.2, concurrency=1, workers=1)
    (piece,) = WebSource(start={site.url!r}, **settings).pieces(Path("w"), Path("c"))
    print(len([each for each in piece.make() if hasattr(each, "text")]))
""")
    before = browsers()
    process = subprocess.Popen([sys.executable, "crawl.py"], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while site.asked("/robots.txt") + sum(site.asked(f"/{number}") for number in range(8)) < 4 and time.monotonic() < until:
        time.sleep(0.05)
    mine = browsers() - before
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert mine
    while (left := [pid for pid in mine if psutil.pid_exists(pid)]) and time.monotonic() < until + 30:
        time.sleep(0.2)
    assert not left
    done = subprocess.run([sys.executable, "crawl.py"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "9"
    asked = [site.asked(f"/{number}") for number in range(8)]
    assert min(asked) == 1
    assert sum(asked) <= 9  # the one on its way at the kill
