"""The page as a browser without a screen sees it: real Chromium against a real server, light and dark, narrow and wide."""

import asyncio
import csv
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from src.serve.control.control import Control
from src.serve.embedding.embedder import Hashing
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model
from src.serve.memory import Memory
from src.serve.memory.link import MemoryLink
from src.serve.memory.remember import Remember
from src.serve.reply import Reply, usage
from src.serve.request import RequestError
from src.store.numpy import Numpy

from ..access.conftest import Guarded, Scripted  # noqa: TID252 (one engine for all doors)

LABELS = ("bearish", "neutral", "bullish")
EVIL = "The **lamp** is `lit`.\n<img src=x onerror=\"document.title='owned'\"> ![x](https://evil.example/?q=1) [a](javascript:alert(1))"


class Lingering(Scripted):
    """Ends an answer some time after its last event, as servers do."""

    last = 0.0

    async def _events(self, request):
        async for data in super()._events(request):
            yield data
        await asyncio.sleep(self.last)


class Words:
    """Puts a text into the class that its first word names; as long as it has one."""

    state = "ready"
    paths = frozenset(("/v1/classify",))

    async def run(self):
        pass

    async def stop(self):
        pass

    async def ask(self, call):
        rows = []
        for number, text in enumerate(call.fields.texts):
            if not (said := next((label for label in LABELS if label in text), "")):
                raise RequestError(400, f"input.{number}: the text names no class", code="no_text", param=f"input.{number}")
            shares = {label: 0.8 if label == said else 0.1 for label in LABELS}
            rows.append({"index": number, "label": said, "score": 0.8, "probabilities": shares})
        return Reply.of({"object": "list", "model": "sentiment", "data": rows, "usage": usage(7, 0)})


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens the page; fails the test for anything that its console tells as an error, or that its policy stops."""
    with ExitStack() as closing:

        def visit(address, *, errors=(), **settings):
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **settings})
            page = context.new_page()
            told = []
            page.on("console", lambda line: told.append(line.text) if line.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: told.append(str(error)))

            def end():
                context.close()
                left = [line for line in told if not any(each in line for each in errors)]
                assert not left, left

            closing.callback(end)
            page.set_default_timeout(15_000)
            page.goto(f"{address}/ui/")
            return page

        yield visit


@contextmanager
def serving(web, *, access=None, memory=True):
    Path("memory_bank").mkdir(exist_ok=True)
    Path("memory_bank/techContext.md").write_text("# Lamp\nThe lamp is a Fresnel lens.")
    config = Memory(store=Numpy(), embedder=Hashing(), deadline=5)
    link = MemoryLink(config, "test", path=Path("run/memory.sock"), log=Path("memory.log"))
    scripted = Lingering(EVIL)
    models = {"keeper": Model("keeper", scripted), "sentiment": Model("sentiment", Words())}
    gateway = Gateway(models, memory=Remember(link) if memory else None)
    guarded = Guarded()
    key = guarded.key()
    started = guarded.running(web, gateway, guarded.access(**access)) if access else web.running(gateway)
    with started as address:
        if memory:
            web.until(lambda: link.state == "ready")
        yield address, scripted, key


def say(page, text):
    page.wait_for_selector("#model option", state="attached")
    page.fill("#text", text)
    page.keyboard.press("Enter")


def wide_as_its_window(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
def test_a_conversation_tells_its_route_its_tokens_and_its_sources(web, opened, caplog):
    caplog.set_level("INFO", "mlx.serve")
    with serving(web) as (address, scripted, _):
        scripted.last = 0.3
        page = opened(address)
        say(page, "Which lens has the lamp?")
        page.click(".sources summary")
        assert page.inner_text(".sources li") == "techContext.md"
        told = page.inner_text(".told")
        assert "keeper" in told and "asked" in told and "7 in" in told and "1 file of memory" in told
        assert page.inner_text(".words strong") == "lamp" and page.inner_text(".words code") == "lit"
        assert page.query_selector(".words img") is None and page.title() == "mlx", "what a model said became markup"
        assert page.eval_on_selector_all(".words a", "all => all.map((a) => a.protocol)") == ["https:"]
        say(page, "And now?")
        page.wait_for_selector(".sources >> nth=1")
        web.until(lambda: caplog.text.count("chat ") == 2)
        assert "left by the client" not in caplog.text, "an answer was not read to its end"
        sent = scripted.seen[-1].body["messages"]
        assert [each["role"] for each in sent] == ["user", "assistant", "user"] and "Fresnel" not in str(sent[0])


@pytest.mark.slow
def test_an_answer_can_be_stopped_and_a_failure_tried_again(web, opened):
    with serving(web, memory=False) as (address, scripted, _):
        page = opened(address, errors=["503"])
        scripted.go.clear()
        say(page, "Say much.")
        page.click("#stop")
        page.wait_for_selector(".chip:has-text('stopped')", state="attached")
        scripted.go.set()
        scripted.ask, ask = _failing, scripted.ask
        page.click("#fresh")
        say(page, "Hello?")
        assert "try again soon (503, engine_unavailable), again in 3 s" in page.inner_text(".failed")
        scripted.ask = ask
        page.click("button:has-text('Try again')")
        page.wait_for_selector(".words strong")
        assert len(page.query_selector_all(".turn")) == 2


async def _failing(_):
    raise RequestError(503, "try again soon", code="engine_unavailable", headers={"retry-after": "3"})


@pytest.mark.slow
def test_a_file_becomes_a_dashboard_and_its_export_runs_nothing(web, opened):
    rows = [
        {"day": f"2026-11-{1 + n % 3:02d}", "text": f'{LABELS[n % 3]} {n}, "so"\nand so', "=note": "@SUM(1+1)*cmd|' /C calc'!A0"}
        for n in range(150)
    ]
    rows[7]["text"] = "nothing said"
    rows[8]["text"] = "=bullish+1"
    with Path("tweets.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with serving(web, memory=False) as (address, _, _):
        page = opened(address, errors=["400"])
        page.click("#tab-classify")
        page.fill("#texts", "bullish on oil")
        page.click("#texts-form button")
        page.wait_for_selector("#dashboard svg")
        assert "80.0 %" in page.inner_text("#dashboard h2")
        page.set_input_files("#file", "tweets.csv")
        page.wait_for_selector("#columns")
        assert page.input_value("#column-text") == "1" and page.input_value("#column-group") == "0"
        page.click("#columns button")
        page.wait_for_selector("#dashboard table")
        assert [tile.split("\n")[0] for tile in page.locator("#dashboard .tile").all_inner_texts()] == ["149", "bearish", "0.80", "0", "1"]
        assert page.get_attribute("#dashboard svg >> nth=2", "aria-label").startswith("2026-11-01: bearish 100 %, neutral 0 %")
        assert "the text names no class" in page.inner_text("#dashboard tbody tr")
        with page.expect_download() as saved:
            page.click("text=Save as CSV")
        saved.value.save_as("out.csv")
    with Path("out.csv").open(newline="", encoding="utf-8-sig") as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == 150 and found[0]["predicted"] == "bearish" and found[7]["error"] and found[0]["probability"] == "0.8"
    cells = [cell for row in found for cell in (*row, *row.values())]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))], "a spreadsheet would run this"
    assert found[8]["text"] == "'=bullish+1" and found[3]["text"] == rows[3]["text"]


@pytest.mark.slow
def test_with_a_door_the_page_asks_for_a_key_and_shows_its_budget(web, opened):
    access = {"roles": {"user": {"routes": ["/v1/*"], "requests_per_minute": 500}}}
    with serving(web, access=access) as (address, _, key):
        assert web.ask(address, path="/ui/", method="GET")[0] == 200 and web.ask(address, path="/v1/models", method="GET")[0] == 401
        page = opened(address, errors=["401", "403", "404"])
        page.wait_for_selector("#key-dialog[open]")
        page.fill("#key-text", "mlx_wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#notice:has-text('does not take this key')")
        page.fill("#key-text", key)
        page.click("#key-dialog button[value=use]")
        page.wait_for_selector("#model option", state="attached")
        say(page, "Which lens?")
        page.wait_for_selector(".sources")
        page.click("#tab-status")
        page.wait_for_selector("#budget progress")
        assert "Role user." in page.inner_text("#budget") and "of 500" in page.inner_text("#budget")
        assert key not in page.content() and page.evaluate("JSON.stringify(localStorage)").find(key) == -1


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)])
def test_every_view_fits_its_window(web, opened, scheme, width):
    with serving(web) as (address, _, _):
        # without a control plane and a door there are no counts and no budget to be told
        page = opened(address, errors=["404"], viewport={"width": width, "height": 800}, color_scheme=scheme)
        say(page, "Which lens has the lamp?" + " and so on" * 40)
        page.wait_for_selector(".sources")
        assert wide_as_its_window(page)
        grounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, grounds[4:-1].split(","))) > 600) == (scheme == "light")
        for view in ("classify", "status"):
            page.click(f"#tab-{view}")
            page.wait_for_timeout(200)
            assert wide_as_its_window(page), view
        page.wait_for_selector("#tiles .tile")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != grounds


@pytest.mark.slow
def test_the_status_says_which_server_is_down_and_why(web, opened):
    gateway = Gateway({"keeper": Model("keeper", Scripted()), "far": Model("far", Scripted(), down="cannot be reached")})
    control = Control(gateway, None, folder=Path(), config=None, reread=lambda: None, lineage={})
    with web.running(gateway, control=control) as address:
        page = opened(address, errors=["404"])
        page.click("#tab-status")
        page.wait_for_selector("#upstreams .chip.bad")
        text = page.inner_text("#upstreams")
        assert "down its server cannot be reached" in " ".join(text.split()) and "ready" in text
        assert "degraded" in page.inner_text("#tiles")
        assert wide_as_its_window(page)
