"""The crawl on a loopback site of real-sized pages: speed against trafilatura's spider and Scrapy's JOBDIR, and three kills.

    uv run python python_script/bench_crawl.py [PAGES]

Every crawler extracts text. Speed runs have no delay; the run that is killed has one, and robots.txt, redirects, traps, 429 with
Retry-After, slow and broken pages; what was asked when comes from the server's own log.
"""

import asyncio
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PYTHON = [sys.executable]
DELAY = 0.05
WORDS = "sea harbour weather ship people morning story letter river winter window garden market answer question paper voice light"
HOST = "www.bench-site.org"  # trafilatura crawls no site without a name of this form


def page(number: int, pages: int) -> bytes:
    """A page of about 150 KB: style, script, navigation, an article of 800 to 2500 words, a sidebar, comments, a footer."""
    draw = random.Random(number)

    def sentence() -> str:
        words = [f"{draw.choice(WORDS.split())}{'' if draw.random() < 0.7 else draw.randrange(99)}" for _ in range(draw.randrange(6, 22))]
        return " ".join(words).capitalize() + "."

    def paragraphs(count: int) -> str:
        return "".join(f"<p class='text'>{' '.join(sentence() for _ in range(draw.randrange(3, 8)))}</p>\n" for _ in range(count))

    links = [child for child in range(8 * number + 1, 8 * number + 9) if child < pages] + draw.sample(range(pages), min(30, pages))
    anchors = "".join(f"<li><a href='/{name(link)}?utm_source=nav{draw.randrange(3)}'>{sentence()[:40]}</a></li>" for link in links)
    style = "".join(f".c{each}{{margin:{each}px;padding:{each}px;color:#{each:06x}}}\n" for each in range(900))
    script = "".join(f"window.d{each}={{'key':'{draw.random()}','list':[1,2,3]}};\n" for each in range(900))
    aside = "".join(f"<div class='teaser'><h4>{sentence()}</h4><a href='/{name(draw.choice(links))}'>more</a></div>" for _ in range(25))
    comments = "".join(f"<div class='comment'><b>reader{each}</b><p>{sentence()}</p></div>" for each in range(15))
    return (
        f"<!doctype html><html lang='en'><head><title>Story {number}</title><meta name='author' content='A. Writer'><style>{style}</style>"
        f"<script>{script}</script></head><body><header><nav><ul>{anchors}</ul></nav></header><main><article><h1>Story {number}</h1>"
        f"{paragraphs(draw.randrange(12, 36))}</article></main><aside>{aside}</aside><section id='comments'>{comments}</section>"
        f"<footer><ul>{anchors}</ul>{'<span></span>' * 1500}</footer></body></html>"
    ).encode()


def name(number: int) -> str:
    """A page's path."""
    return f"{WORDS.split()[number % 18]}/story-{number}.html" if number else ""


def note(title: str, tail: str = "") -> Any:
    """A short page."""
    from aiohttp import web

    text = "".join(f"<p>{title} has a line of text that is long enough to be read, number {each}.</p>" for each in range(9))
    body = f"<html><title>{title}</title><body><article>{text}</article>{tail}</body></html>"
    return web.Response(text=body, content_type="text/html")


async def hostility(path: str, busy: Counter[str]) -> Any:
    """The answers of the site's bad corners."""
    from aiohttp import web

    kind, _, number = path[1:].partition("/")
    if kind == "moved":
        return web.Response(status=301, headers={"Location": f"/{name(int(number) + 1)}"})
    if kind == "busy":
        busy[path] += 1
        return web.Response(status=429, headers={"Retry-After": "1"}) if busy[path] == 1 else note(f"Busy {number}")
    if kind == "slow":
        await asyncio.sleep(5)
    if kind == "calendar":
        day = int(path.rpartition("/")[2])
        return note(f"Calendar {day}", f"<a href='/calendar/2026/{day + 1}'>next</a>")
    return web.Response(status=500 if kind == "broken" else 404)


def serve(folder: Path, pages: int, *, hostile: bool) -> None:
    """Serve the site until killed; its port goes to stdout, its log to `log.jsonl`."""
    from aiohttp import web

    bodies = {f"/{name(number)}": page(number, pages) for number in range(pages)}
    if hostile:
        extra = "".join(f"<a href='/{kind}/{each}'>x</a>" for kind in ("private", "moved", "busy", "slow", "broken") for each in range(5))
        bodies["/"] = bodies["/"].replace(b"</footer>", f"{extra}<a href='/calendar/2026/1'>calendar</a></footer>".encode())
    packed = {path: gzip.compress(body, 5) for path, body in bodies.items()}
    log = (folder / "log.jsonl").open("a", buffering=1)
    busy: Counter[str] = Counter()

    async def answer(request: Any) -> Any:
        path, at = request.path, time.time()
        if path == "/robots.txt":
            found = web.Response(text=f"User-agent: *\nDisallow: /private/\nCrawl-delay: {DELAY if hostile else 0}\n")
        elif path in packed:
            found = web.Response(body=packed[path], headers={"Content-Type": "text/html; charset=utf-8", "Content-Encoding": "gzip"})
        else:
            found = await hostility(path, busy)
        log.write(json.dumps([at, path, found.status]) + "\n")
        return found

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


def ours(url: str, folder: Path, *, delay: float, pages: int) -> list[Any]:
    """Our crawl; what it kept and dropped."""
    from src.scrape.web import WebSource

    budget = {"depth": 60, "max_pages": pages + 200, "max_per_pattern": 50 if delay else pages}
    polite = {"delay": delay, "concurrency": 16, "timeout": 2, "tries": 3}
    source = WebSource(start=(url,), allow_private=True, **budget, **polite)
    (piece,) = source.pieces(folder / "work", folder / "cache")
    return list(piece.make())


def trafilatura_spider(url: str, pages: int) -> None:
    """Trafilatura's focused crawler, its extraction in the place where it reads each answer for links."""
    import socket

    import trafilatura
    from trafilatura import downloads, spider
    from trafilatura.settings import DEFAULT_CONFIG

    for key, value in (("SLEEP_TIME", "0"), ("SSRF_PROTECTION", "off")):
        DEFAULT_CONFIG.set("DEFAULT", key, value)
    downloads.HAS_PYCURL = False  # which would look the name up by itself
    look_up = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **more: look_up("127.0.0.1" if host == HOST else host, *rest, **more)  # type: ignore[assignment]
    links = spider.process_response
    count = 0

    def extracting(response: Any, params: Any) -> None:
        nonlocal count
        links(response, params)
        if response is not None and response.data and trafilatura.bare_extraction(response.data, url=response.url, with_metadata=True):
            count += 1

    spider.process_response = extracting
    spider.focused_crawler(url.replace("127.0.0.1", HOST), max_seen_urls=pages + 100, max_known_urls=10**6)
    print(count)


SPIDER = """
import scrapy, trafilatura
from scrapy.linkextractors import LinkExtractor
from w3lib.url import url_query_cleaner
class S(scrapy.Spider):
    name = "s"
    links = LinkExtractor(process_value=lambda url: url_query_cleaner(url, ["utm_source"], remove=True))
    async def start(self):
        yield scrapy.Request(self.url, self.parse)
    def parse(self, response):
        found = trafilatura.bare_extraction(response.text, url=response.url, with_metadata=True)
        yield {"url": response.url, "text": found and found.text}
        for link in self.links.extract_links(response):
            yield scrapy.Request(link.url, self.parse)
"""


def jobdir_command(url: str, folder: Path) -> list[str]:
    """Scrapy with its own queue on disk, and extraction in its callback."""
    (folder / "spider.py").write_text(SPIDER)
    options = {"JOBDIR": folder / "job", "LOG_LEVEL": "ERROR", "CONCURRENT_REQUESTS_PER_DOMAIN": 16, "ROBOTSTXT_OBEY": True}
    settings = [part for key, value in options.items() for part in ("-s", f"{key}={value}")]
    command = [*PYTHON, "-m", "scrapy", "runspider", str(folder / "spider.py"), "-a", f"url={url}"]
    return [*command, "-o", str(folder / "items.jsonl"), *settings]


class Site:
    """The server in a process of its own."""

    def __init__(self, folder: Path, pages: int, *, hostile: bool) -> None:
        folder.mkdir(parents=True)
        self.file = folder / "log.jsonl"
        command = [*PYTHON, __file__, "serve", str(folder), str(pages), "hostile" if hostile else "plain"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/"

    def log(self) -> list[tuple[float, str, int]]:
        """What was asked: time, path, status."""
        return [tuple(json.loads(line)) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def timed(command: list[str]) -> tuple[float, str]:
    """Wall seconds of a command, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    return time.perf_counter() - start, done.stdout


def speed(folder: Path, pages: int) -> None:
    """Pages a second of each crawler, in turn, twice."""
    rates: dict[str, list[float]] = {}
    for turn in range(2):
        for kind in ("mlx", "trafilatura", "jobdir"):
            site = Site(folder / f"{kind}-{turn}", pages, hostile=False)
            own = folder / f"{kind}-{turn}-own"
            own.mkdir()
            here = [*PYTHON, __file__, kind, site.url, str(own), str(pages)]
            wall, _ = timed(jobdir_command(site.url, own) if kind == "jobdir" else here)
            found = len({path for _, path, status in site.log() if status == 200 and path != "/robots.txt"})
            rates.setdefault(kind, []).append(found / wall)
            print(f"{kind:<12} {found:>5} pages  {wall:6.1f} s  {found / wall:6.1f} pages/s")
            site.close()
    best = {kind: max(found) for kind, found in rates.items()}
    print(f"ratio: {best['mlx'] / best['trafilatura']:.2f} × trafilatura's spider, {best['mlx'] / best['jobdir']:.2f} × Scrapy's JOBDIR")


def kills(folder: Path, pages: int, seed: int = 42) -> None:
    """Kill the crawl three times at random; count lost and double pages, and look for what was impolite."""
    site = Site(folder / "hostile", pages, hostile=True)
    own = folder / "hostile-own"
    own.mkdir()
    command = [*PYTHON, __file__, "polite", site.url, str(own), str(pages)]
    draw = random.Random(seed)
    at = sorted(draw.randrange(20, pages - 50) for _ in range(3))
    for limit in at:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
        while len(site.log()) < limit and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = json.loads(timed(command)[1])
    log = site.log()
    site.close()
    asked = Counter(path for _, path, status in log if status == 200)
    wanted = {f"/{name(number)}" for number in range(pages)} | {f"/busy/{each}" for each in range(5)}
    again = sum(asked[each] - 1 for each in wanted if asked[each] > 1)
    times = sorted(when for when, path, _ in log if path != "/robots.txt")
    second = max(sum(start <= when < start + 1 for when in times) for start in times)
    busy = [when for when, path, status in log if status == 429]
    early = sum(0.3 < when - start < 0.95 for when, *_ in log for start in busy)
    kept = result["kept"]
    print(f"killed after {', '.join(map(str, at))} requests: {len(wanted - set(kept))} of {len(wanted)} pages lost,")
    print(f"  {len(kept) - len(set(kept))} double records, {again} pages on their way at a kill fetched again")
    forbidden = sum(path.startswith("/private/") for _, path, _ in log)
    print(f"robots: {forbidden} forbidden pages asked for, {asked['/robots.txt']} × robots.txt")
    print(f"delay {DELAY} s: at most {second} requests in any second, {1 / DELAY:.0f} are allowed")
    print(f"Retry-After: {early} requests in the second that was asked for; dropped: {result['dropped']}")


def main(arguments: list[str]) -> None:
    """Run one part, or all."""
    if arguments[:1] == ["serve"]:
        serve(Path(arguments[1]), int(arguments[2]), hostile=arguments[3] == "hostile")
    elif arguments[:1] == ["trafilatura"]:
        trafilatura_spider(arguments[1], int(arguments[3]))
    elif arguments[:1] in (["mlx"], ["polite"]):
        found = ours(arguments[1], Path(arguments[2]), delay=0 if arguments[0] == "mlx" else DELAY / 2, pages=int(arguments[3]))
        kept = ["/" + each.id.split("/", 3)[3] for each in found if hasattr(each, "text")]
        print(json.dumps({"kept": kept, "dropped": Counter(each.reason for each in found if not hasattr(each, "text"))}))
    else:
        pages = int(arguments[0]) if arguments else 600
        os.nice(5)
        with tempfile.TemporaryDirectory() as folder:
            kills(Path(folder), pages)
            speed(Path(folder), pages)


if __name__ == "__main__":
    main(sys.argv[1:])
