"""Behaves like Ollama's server as it was recorded: silent cuts, a reload for another num_ctx, 503 where too much waits; run as a script."""

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PULLED = {"qwen3:30b-a3b": 20_000, "qwen2.5-coder:32b": 35_000, "tiny:1b": 1_000, "minilm": 90}
DEFAULT_CONTEXT = 512
VERSION = "0.32.1"


class Ollama:
    """The state of one server."""

    def __init__(self, *, old=False, load_seconds=0.0, queue=512, busy=0):
        self.old = old
        """Whether it does not know `truncate: false`."""
        self.load_seconds = load_seconds
        self.room = 10**6
        """MB that models may take; one that takes more does not load."""
        self.busy = busy
        """How many requests are still answered with 503."""
        self.loaded = {}
        self.asked = []
        """Bodies of the requests, with their paths."""
        self.lock = threading.Lock()
        self.left = 0
        """Clients that went before their answer's end."""

    def load(self, model, context):
        with self.lock:
            if self.loaded.get(model) != context:
                time.sleep(self.load_seconds)
                self.loaded[model] = context

    def ps(self):
        return {"models": [self.shown(name, context) for name, context in self.loaded.items()]}

    def shown(self, name, context):
        size = PULLED[name] * 10**6
        expires = "2318-01-01T00:00:00Z"
        return {"name": name, "model": name, "size": size, "size_vram": size // 2, "context_length": context, "expires_at": expires}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Ollama

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        found = {
            "/api/ps": self.state.ps,
            "/api/version": lambda: {"version": VERSION},
            "/api/tags": lambda: {"models": [{"name": name} for name in PULLED]},
            "/": lambda: "Ollama is running",
        }.get(self.path)
        self.answer(200, found()) if found else self.answer(404, {"error": "404 page not found"})

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["content-length"]))
        try:
            body = json.loads(raw)
        except ValueError:
            return self.answer(400, {"error": "unexpected EOF"})
        if self.path != "/api/show":
            self.state.asked.append((self.path, body))
        if self.state.busy and self.path == "/api/chat":
            self.state.busy -= 1
            return self.answer(503, {"error": "server busy, please try again.  maximum pending requests exceeded"})
        model = body.get("model", "")
        if ".." in model:
            return self.answer(400, {"error": "invalid model name"})
        if model not in PULLED:
            return self.answer(404, {"error": f"model '{model}' not found"})
        if PULLED[model] > self.state.room and body.get("keep_alive") != 0 and self.path != "/api/show":
            words = f"model requires more system memory ({PULLED[model] / 1e3:.1f} GiB) than is available ({self.state.room / 1e3:.1f} GiB)"
            return self.answer(500, {"error": words})
        if self.path == "/api/show":
            return self.answer(200, {"capabilities": ["completion"], "model_info": {"llama.context_length": 131072}})
        return {"/api/chat": self.chat, "/api/generate": self.generate, "/api/embed": self.embed}[self.path](body)

    def generate(self, body):
        """An empty prompt loads, with keep_alive 0 it unloads."""
        model = body["model"]
        if body.get("keep_alive") == 0:
            self.state.loaded.pop(model, None)
            return self.answer(200, {"model": model, "created_at": "now", "response": "", "done": True, "done_reason": "unload"})
        self.state.load(model, body.get("options", {}).get("num_ctx", DEFAULT_CONTEXT))
        return self.answer(200, {"model": model, "created_at": "now", "response": "", "done": True, "done_reason": "load"})

    def embed(self, body):
        if body["model"] != "minilm":
            return self.answer(501, {"error": "this model does not support embeddings"})
        vectors = [[float(len(text)), 0.5, -1.0] for text in body["input"]]
        return self.answer(
            200, {"model": "minilm", "embeddings": vectors, "prompt_eval_count": sum(len(text.split()) for text in body["input"])}
        )

    def chat(self, body):
        model = body["model"]
        if body.get("tools") and model == "tiny:1b":
            return self.answer(400, {"error": f'"{model}" does not support tools'})
        context = body.get("options", {}).get("num_ctx", DEFAULT_CONTEXT)
        self.state.load(model, context)
        said = " ".join(each.get("content", "") for each in body["messages"])
        count = len(said.split())
        if count > context and body.get("truncate") is False and not self.state.old:
            words = f"request ({count} tokens) exceeds the available context size ({context} tokens), try increasing it"
            told = {"code": 400, "message": words, "type": "exceed_context_size_error", "n_prompt_tokens": count, "n_ctx": context}
            inner = {"error": told}
            return self.answer(400, {"error": json.dumps(inner)})
        count = count if count <= context else context // 2 + 2  # in silence
        lines = self.lines(model, body, said, count)
        if body.get("stream", True):
            return self.stream(lines, slowly="slowly" in said, cut="break off" in said)
        message = {"role": "assistant", "content": "".join(line["message"].get("content", "") for line in lines)}
        for key in ("tool_calls", "thinking"):
            if found := next((line["message"][key] for line in lines if key in line["message"]), None):
                message[key] = found
        return self.answer(200, {**lines[-1], "message": message})

    def lines(self, model, body, said, count):
        def line(message, **more):
            return {"model": model, "created_at": "now", "message": {"role": "assistant", **message}, "done": False, **more}

        limit = body.get("options", {}).get("num_predict", 100)
        words = ["Saw", "an", "image."] if any(each.get("images") for each in body["messages"]) else ["Hello", "from", f"{model}."]
        words = words * 200 if "slowly" in said else words
        end = {
            "done": True,
            "done_reason": "length" if limit < len(words) else "stop",
            "prompt_eval_count": count,
            "eval_count": min(limit, len(words)),
        }
        if body.get("tools") and "lamp" in said:
            call = {"function": {"index": 0, "name": body["tools"][0]["function"]["name"], "arguments": {"state": "on"}}}
            return [line({"content": "", "tool_calls": [call]}), line({"content": ""}, **end)]
        thought = [line({"content": "", "thinking": "Hm."})] if body.get("think") else []
        return [*thought, *(line({"content": word + " "}) for word in words[:limit]), line({"content": ""}, **end)]

    def stream(self, lines, *, slowly, cut):
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for place, each in enumerate(lines):
                if cut and place == 2:
                    self.piece(json.dumps({"error": "an error was encountered while running the model: CUDA error"}).encode() + b"\n")
                    break
                data = json.dumps(each, ensure_ascii=False).encode() + b"\n"
                self.piece(data[:7])  # lines come in pieces
                self.piece(data[7:])
                time.sleep(0.02 if slowly else 0)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.state.left += 1
            self.close_connection = True

    def piece(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=utf-8")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def start(port=0, **settings):
    """Listen on loopback; return the server and its state."""
    state = Ollama(**settings)
    server = Server(("127.0.0.1", port), type("Bound", (Handler,), {"state": state}))
    threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()
    return server, state


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=11434)
    parser.add_argument("--load-seconds", type=float, default=0.2)
    parser.add_argument("--pid", type=Path)
    given = parser.parse_args()
    start(given.port, load_seconds=given.load_seconds)
    threading.Event().wait()
