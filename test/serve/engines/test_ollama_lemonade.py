"""What Lemonade, which speaks Ollama's dialect, does otherwise than Ollama: written down from a real one (test_lemonade.py asks it)."""

import asyncio
import json
import socket
import threading

from src.serve.engines.ollama import OllamaEngine
from src.serve.engines.ollama_wire import Events
from src.serve.reply import Shape


def line(**more):
    message = {"role": "assistant", "content": more.pop("content", "")}
    return json.dumps({"model": "m", "created_at": "now", "done": False, "message": message, **more}).encode()


def test_a_stream_that_ends_twice_and_counts_nothing_ends_once_and_makes_up_no_count():
    deltas = Events(Shape("m"), with_usage=True)
    ends = [line(done=True, done_reason="length"), line(done=True, done_reason="stop", eval_count=0, prompt_eval_count=0)]
    text = b"".join(deltas.feed(each) for each in (line(), line(content="Ahoy"), *ends)).decode()
    assert text.count("[DONE]") == 1 and text.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"length"' in text and "usage" not in text


def lemonade(listening, asked):
    """Answers each connection's first request and then ends it, though it said that it would not; to load is a stream."""
    while True:
        try:
            peer, _ = listening.accept()
        except OSError:
            return
        with peer:
            data = peer.recv(65536)
            path = data.split()[1].decode()
            asked.append(path)
            if path == "/api/generate":
                pieces = [b'{"done":false,"model":"m"}\n', b'{"done":true,"done_reason":"stop","model":"m"}\n']
                body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
                head = b"transfer-encoding: chunked"
            else:
                body = json.dumps({"models": [{"name": "m:latest", "model": "m:latest", "size": 0, "size_vram": 0}]}).encode()
                head = b"content-length: %d" % len(body)
            peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nkeep-alive: timeout=5\r\n" + head + b"\r\n\r\n" + body)


def test_a_model_is_loaded_by_one_that_streams_that_too_and_ends_connections_it_promised_to_keep():
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=lemonade, args=(listening, asked), daemon=True)
        server.start()
        part = OllamaEngine(type="ollama", model="m", base_url=f"http://127.0.0.1:{listening.getsockname()[1]}")

        async def story():
            engine = part.open(None, name="k", max_new_tokens=None, log=None)
            await engine.run()
            await engine.load()
            seen = await engine.look()
            await engine.stop()
            return seen

        assert asyncio.run(story())
        listening.shutdown(socket.SHUT_RDWR)
    server.join(10)
    assert "/api/generate" in asked and asked[-1] == "/api/ps"
