import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class ChatServer(ThreadingHTTPServer):
    """A loopback server with OpenAI's chat API that answers what the test tells it to."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        """Bodies of the calls, in order."""
        self.keys = []
        self.paths = []
        self.answers = lambda body, number: (200, completion("positive"))
        """From a call's body and number: status, and what to send as JSON, or as it is where that is a text."""

    def handle_error(self, request, client_address):
        """Say nothing of clients that went away before their answer."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.keys.append(self.headers["Authorization"])
        self.server.paths.append(self.path)
        status, answer = self.server.answers(body, len(self.server.asked))
        kind = "text/html" if isinstance(answer, str) and answer.startswith("<") else "application/json"
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


def completion(text, finish="stop", usage=(7, 1)):
    message = {"role": "assistant", "content": text}
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return body


def refusal(message, code=None):
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


@pytest.fixture
def server():
    found = ChatServer()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def answer():
    """Bodies a server may send: `answer.completion(text)`, `answer.refusal(message)`."""
    return type("Answer", (), {"completion": staticmethod(completion), "refusal": staticmethod(refusal)})
