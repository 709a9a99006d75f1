"""A loopback server with OpenAI's chat API whose answers, faults, pace and limits are scripted, and which counts what it was asked.

Run it beside a program under test (`python test/servers/scripted_openai.py --help`), or in a thread with `running(Script(...))`.
"""

import argparse
import asyncio
import hashlib
import json
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web


def by_words(text: str) -> str:
    """A class for a tweet, always the same."""
    words = text.casefold()
    if any(word in words for word in ("beat", "raise", "upgrade", "bull", "buy", "higher", "good", "up")):
        return "bullish"
    return "bearish" if any(word in words for word in ("cut", "miss", "downgrade", "weak", "lower", "bad", "down")) else "neutral"


@dataclass
class Script:
    """What the server does. Shares are of first tries, drawn from the text, so that two runs meet the same faults."""

    answer: Callable[[str], Any] = by_words
    """The answer about a text: words, or a JSON value."""
    latency: float = 0.0
    throttled: float = 0.0
    """Share answered 429 with Retry-After, in seconds or as a date."""
    retry_after: float = 1.0
    broken: float = 0.0
    """Share answered 500."""
    garbled: float = 0.0
    """Share answered 200 with a body that is no JSON."""
    chatty: float = 0.0
    """Share whose first answer is talk, not the answer that was asked for."""
    per_minute: float | None = None
    """Requests in any 60 seconds above which a call is really turned away."""
    structured: bool = True
    """Whether `response_format` is known; else such calls get 400."""
    stats_only: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each request came."""
    paid: Counter[str] = field(default_factory=Counter)
    """Texts that an answer was sent for, and so billed, by text and draw; talk and repairs aside."""
    statuses: Counter[int] = field(default_factory=Counter)
    tokens: int = 0
    turned_away: int = 0
    at_once: int = 0
    most_at_once: int = 0

    def stats(self) -> dict[str, Any]:
        """What it was asked."""
        return {
            "requests": len(self.times),
            "span": self.times[-1] - self.times[0] if len(self.times) > 1 else 0.0,
            "busiest_minute": busiest(self.times, 60.0),
            "paid": len(self.paid),
            "paid_twice": sum(1 for count in self.paid.values() if count > 1),
            "paid_again": sum(count - 1 for count in self.paid.values()),
            "statuses": dict(self.statuses),
            "turned_away": self.turned_away,
            "tokens": self.tokens,
            "most_at_once": self.most_at_once,
        }


def busiest(times: list[float], window: float) -> int:
    """Requests in the busiest stretch of `window` seconds."""
    held: deque[float] = deque()
    most = 0
    for each in times:
        held.append(each)
        while held[0] <= each - window:
            held.popleft()
        most = max(most, len(held))
    return most


class Server:
    """Answers by its script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.tries: Counter[str] = Counter()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/stats", self.stats)
        return app

    async def stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.script.stats())

    async def complete(self, request: web.Request) -> web.Response:
        script = self.script
        now = time.monotonic()
        script.times.append(now)
        body = await request.json()
        if not script.stats_only:
            script.asked.append(body)
            script.headers.append({name.lower(): value for name, value in request.headers.items()})
        script.at_once += 1
        script.most_at_once = max(script.most_at_once, script.at_once)
        try:
            response = self.turn_away(now) or await self.serve(body)
        finally:
            script.at_once -= 1
        script.statuses[response.status] += 1
        return response

    def turn_away(self, now: float) -> web.Response | None:
        limit = self.script.per_minute
        if limit and sum(1 for each in reversed(self.script.times) if each > now - 60) > limit:
            self.script.turned_away += 1
            return refusal(429, "over the limit", {"Retry-After": "1"})
        return None

    async def serve(self, body: dict[str, Any]) -> web.Response:
        script = self.script
        system, text = body["messages"][0]["content"], body["messages"][-1]["content"]
        mark = hashlib.sha256(text.encode()).digest()
        self.tries[text] += 1
        first = self.tries[text] == 1
        draws = [int.from_bytes(mark[start : start + 4], "big") / 2**32 for start in (0, 4, 8, 12)]
        if first and draws[0] < script.throttled:
            later = str(script.retry_after) if draws[3] < 0.5 else http_date(script.retry_after)
            return refusal(429, "slow down", {"Retry-After": later})
        if script.latency:
            await asyncio.sleep(script.latency * (0.5 + draws[3]))
        if first and draws[1] < script.broken:
            return refusal(500, "broken")
        if first and draws[2] < script.garbled:
            return web.Response(text='{"choices": [{"mess', content_type="application/json")
        form = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
        if form is not None and not script.structured:
            return refusal(400, "response_format of type json_schema is not supported")
        said = self.said(text, form, chatty=draws[3] < script.chatty and "you answered" not in system)
        self.bill(body, text)
        return self.completion(body, said)

    def said(self, text: str, form: Any, *, chatty: bool) -> str:
        rows = listed(text)
        if chatty:
            return "Well, that depends on how one looks at it."
        if rows is None:
            answer = self.script.answer(text)
            return json.dumps({"label": answer} if isinstance(answer, str) else answer) if form or not isinstance(answer, str) else answer
        return json.dumps({"answers": [{"id": row["id"], "answer": self.script.answer(row["text"])} for row in rows]})

    def bill(self, body: dict[str, Any], text: str) -> None:
        repair = "you answered" in body["messages"][0]["content"]
        for each in [row["text"] for row in listed(text) or ()] or [text]:
            self.script.paid[f"{body.get('seed', 0)}{'r' if repair else ''}{'' if listed(text) is None else 'b'}:{each}"] += 1

    def completion(self, body: dict[str, Any], said: str) -> web.Response:
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4
        usage = {"prompt_tokens": prompt, "completion_tokens": len(said) // 4 + 1}
        usage["total_tokens"] = sum(usage.values())
        self.script.tokens += usage["total_tokens"]
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        found = {"id": "c", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice], "usage": usage}
        return web.json_response(found)


def listed(text: str) -> list[dict[str, Any]] | None:
    """The rows of a batch, or None where the text is a row itself."""
    try:
        rows = json.loads(text)
    except ValueError:
        return None
    fits = isinstance(rows, list) and rows and all(isinstance(row, dict) and {"id", "text"} == set(row) for row in rows)
    return rows if fits else None


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds + 0.5), usegmt=True)


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "error", "code": None}}, status=status, headers=headers)


async def _serve(script: Script, ready: Callable[[int], None], end: asyncio.Event, port: int = 0) -> None:
    runner = web.AppRunner(Server(script).application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    ready(site._server.sockets[0].getsockname()[1])
    await end.wait()
    await runner.cleanup()


@contextmanager
def running(script: Script) -> Iterator[str]:
    """Serve in a thread; yields the base URL."""
    loop = asyncio.new_event_loop()
    ports: list[int] = []
    up = threading.Event()
    end = asyncio.Event()

    def ready(port: int) -> None:
        ports.append(port)
        up.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(script, ready, end),))
    thread.start()
    up.wait(20)
    yield f"http://127.0.0.1:{ports[0]}/v1"
    loop.call_soon_threadsafe(end.set)
    thread.join(20)
    loop.close()


def main() -> None:
    """Serve until killed; the first line of output is the base URL."""
    parser = argparse.ArgumentParser(description=__doc__)
    shares = ("latency", "throttled", "retry_after", "broken", "garbled", "chatty")
    for name in (*shares, "per_minute"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float)
    given = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}

    def ready(port: int) -> None:
        sys.stdout.write(f"http://127.0.0.1:{port}/v1\n")
        sys.stdout.flush()

    asyncio.run(_serve(Script(stats_only=True, **given), ready, asyncio.Event()))


if __name__ == "__main__":
    main()
