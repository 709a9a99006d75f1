"""Streams of Bedrock, frame by frame as AWS sends them, over a socket.

botocore's Stubber checks what is sent and plays errors (test_bedrock.py); an event stream it cannot play: it takes an answer's
`stream` for a structure, and refuses whatever could be iterated. So here a server on this machine writes the frames, and botocore's
own reader reads them.
"""

import json
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("boto3", reason="needs the extra bedrock")

from src.serve.engines.bedrock import BedrockEngine
from src.serve.engines.breaker import Breaker
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model


def frame(kind, value, *, message="event"):
    """One message of application/vnd.amazon.eventstream: lengths, checksum, headers, payload, checksum."""
    name = ":event-type" if message == "event" else ":exception-type"
    heads = {name: kind, ":content-type": "application/json", ":message-type": message}
    packed = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(said)) + said.encode() for key, said in heads.items()
    )
    payload = json.dumps(value).encode()
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def delta(text, place=0):
    return frame("contentBlockDelta", {"delta": {"text": text}, "contentBlockIndex": place})


START = frame("messageStart", {"role": "assistant"})
STOP = frame("messageStop", {"stopReason": "end_turn"})
USAGE = frame("metadata", {"usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}, "metrics": {"latencyMs": 1}})


class Aws:
    """What the server says, and what it was told."""

    def __init__(self):
        self.frames, self.asked, self.pause = [], [], threading.Event()
        self.left = 0


@pytest.fixture(scope="module")
def aws():
    state = Aws()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.asked.append((self.path, dict(self.headers), body))
            self.send_response(200)
            self.send_header("content-type", "application/vnd.amazon.eventstream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                for each in state.frames:
                    if each == "cut":
                        self.close_connection = True
                        return self.connection.close()
                    if each == "tick":
                        for number in range(2000):
                            self.piece(delta(f"{number} "))
                            state.pause.wait(0.01)
                        return None
                    for part in (each[:9], each[9:]):  # a frame comes as sockets cut it
                        self.piece(part)
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                state.left += 1
                self.close_connection = True

        def piece(self, data):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    state.pause.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def claude(aws):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIA123456")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-123456")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", aws.url)
        patch.delenv("AWS_PROFILE", raising=False)
        part = BedrockEngine(type="bedrock", model="anthropic.claude-v9:0", region="us-east-1", retries=1, first_byte_timeout=5)
        yield part.open(None, name="claude", max_new_tokens=50, log=None)


@pytest.fixture(scope="module")
def served(web, claude):
    with web.running(Gateway({"claude": Model("claude", claude)})) as address:
        yield address


@pytest.fixture(autouse=True)
def anew(claude, aws):
    claude.breaker = Breaker(claude.part.failures, claude.part.rest)
    aws.asked.clear()


def chat(**more):
    return {"model": "claude", "messages": [{"role": "user", "content": "how is it?"}], "stream": True, **more}


def test_a_stream_is_openais_events(web, served, claude, aws):
    aws.frames = [
        START,
        frame("contentBlockDelta", {"delta": {"reasoningContent": {"text": "Hm."}}, "contentBlockIndex": 0}),
        delta("All "),
        delta("well 🌊"),
        frame("contentBlockStop", {"contentBlockIndex": 0}),
        frame("contentBlockStart", {"start": {"toolUse": {"toolUseId": "t1", "name": "set_lamp"}}, "contentBlockIndex": 1}),
        frame("contentBlockDelta", {"delta": {"toolUse": {"input": '{"state":'}}, "contentBlockIndex": 1}),
        frame("contentBlockDelta", {"delta": {"toolUse": {"input": ' "on"}'}}, "contentBlockIndex": 1}),
        frame("messageStop", {"stopReason": "tool_use"}),
        USAGE,
    ]
    events = web.events(web.ask(served, chat(stream_options={"include_usage": True}))[2])
    deltas = [each["choices"][0]["delta"] for each in events if each["choices"]]
    assert "".join(each.get("content") or "" for each in deltas) == "All well 🌊"
    calls = [each["tool_calls"][0] for each in deltas if "tool_calls" in each]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("t1", "set_lamp")
    assert json.loads("".join(each["function"]["arguments"] for each in calls)) == {"state": "on"}
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert events[-1]["usage"]["total_tokens"] == 9
    [(path, headers, body)] = aws.asked
    assert path == "/model/anthropic.claude-v9%3A0/converse-stream" and body["inferenceConfig"] == {"maxTokens": 50}
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256") and "secret-123456" not in str(headers)
    web.until(lambda: claude.inflight == 0)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ([frame("modelStreamErrorException", {"message": "oh"}, message="exception")], "upstream_broke_off"),
        ([frame("throttlingException", {"message": "slow down"}, message="exception")], "upstream_broke_off"),
        ([], "upstream_broke_off"),
        (["cut"], "upstream_broke_off"),
        ([b"garbage" * 10], "upstream_broke_off"),
    ],
    ids=["exception", "throttled", "no end", "cut", "garbage"],
)
def test_a_stream_that_breaks_off_says_so_and_is_closed(web, served, claude, aws, end, code):
    aws.frames = [START, delta("All "), *end]
    text = web.ask(served, chat())[2]
    assert "All " in text and f'"{code}"' in text and "[DONE]" not in text
    web.until(lambda: claude.inflight == 0)


@pytest.mark.parametrize(("kind", "status"), [("throttlingException", 429), ("serviceUnavailableException", 503)])
def test_what_is_refused_before_the_first_word_is_tried_again_and_told_as_such(web, served, claude, aws, kind, status):
    aws.frames = [frame(kind, {"message": "not now"}, message="exception")]
    found, headers, _ = web.ask(served, chat())
    assert (found, headers["x-mlx-tries"], headers["retry-after"], len(aws.asked)) == (status, "2", "5", 2)
    web.until(lambda: claude.inflight == 0)


def test_a_client_that_leaves_ends_the_stream(web, served, claude, aws):
    import http.client

    aws.frames = [START, "tick"]
    connection = http.client.HTTPConnection(served.removeprefix("http://"), timeout=10)
    connection.request("POST", "/v1/chat/completions", json.dumps(chat()), {"content-type": "application/json"})
    connection.getresponse().read(100)
    connection.sock.close()
    connection.close()
    web.until(lambda: aws.left == 1 and claude.inflight == 0, 10)
