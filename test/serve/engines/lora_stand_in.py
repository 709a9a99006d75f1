"""Behaves like `vllm serve` with adapters, and with sleep where it is let; run as a script, it notes what it was told."""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

argv = sys.argv[1:]
notes = Path(os.environ["STAND_IN_NOTES"])
dynamic = os.environ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
port = int(argv[argv.index("--port") + 1])
named = {}
if "--lora-modules" in argv:
    for word in argv[argv.index("--lora-modules") + 1 :]:
        if word.startswith("--"):
            break
        name, _, path = word.partition("=")
        named[name] = path
if "--served-model-name" in argv:
    named[argv[argv.index("--served-model-name") + 1]] = "base"


def note(**told):
    with notes.open("a") as file:
        file.write(json.dumps(told) + "\n")


note(argv=argv, pid=os.getpid(), dynamic=dynamic)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asleep = False

    def do_GET(self):
        self.answer(200, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter") and dynamic:
            note(post=self.path, **body)
            return self.lora(body)
        if self.path.startswith(("/sleep", "/wake_up")) and os.environ.get("VLLM_SERVER_DEV_MODE") == "1":
            note(post=self.path)
            if Path("refuses_sleep").exists():
                return self.answer(500, {"error": {"message": "the GPU is gone"}})
            Handler.asleep = self.path.startswith("/sleep")
            return self.answer(200, {"status": "asleep"})
        if self.path == "/tokenize":
            note(post=self.path, **body)
            return self.answer(200, {"count": 7 * len(body["messages"]), "max_model_len": 64, "tokens": []})
        if self.path != "/v1/chat/completions":
            return self.answer(404, {"detail": "Not Found"})
        if body["model"] not in named:
            return self.answer(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        if Handler.asleep:
            return self.answer(500, {"error": {"message": "asked asleep"}})
        if body["messages"][-1]["content"] == "die":
            os._exit(7)
        if body.get("stream"):
            return self.slowly(body["model"])
        message = {"role": "assistant", "content": f"{body['model']} of {named[body['model']]}", "asked": body["messages"]}
        return self.answer(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def lora(self, body):
        name = body["lora_name"]
        if Path("refuses_adapters").exists():
            return self.answer(500, {"error": {"message": "no room for adapters"}})
        if self.path == "/v1/unload_lora_adapter":
            return self.answer(200 if named.pop(name, None) else 404, {"error": {"message": "cannot be found"}})
        if "broken" in body["lora_path"]:
            return self.answer(500, {"error": {"message": "tensors of another shape"}})
        if name in named and not body["load_inplace"]:
            return self.answer(400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}})
        named[name] = body["lora_path"]
        return self.answer(200, {"status": "added"})

    def slowly(self, name):
        """Words until the file `enough` is there, then the end: whoever cut it is seen."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        for _ in range(2000):
            self.wfile.write(b'data: {"choices":[{"index":0,"delta":{"content":"%s "},"finish_reason":null}]}\n\n' % name.encode())
            if Path("enough").exists():
                break
            time.sleep(0.02)
        self.wfile.write(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
