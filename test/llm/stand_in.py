"""Behaves like `vllm serve`, good or bad days included; run as a script."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("command", nargs="*")
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--delay", type=float, default=0.2, help="seconds until it is healthy")
parser.add_argument("--crash-after", type=float, help="seconds from then to a crash")
parser.add_argument("--crashes", type=int, default=10**6, help="how many lives end so")
parser.add_argument("--hang-after", type=float, help="seconds from then until health is not answered any more")
parser.add_argument("--fail", action="store_true", help="end at once with an error")
parser.add_argument("--deaf", action="store_true", help="ignore SIGTERM")
parser.add_argument("--child", action="store_true", help="have a child that ignores SIGTERM")
parser.add_argument("--notes", type=Path, required=True, help="one line for each life: its pid, and its child's")
given, _ = parser.parse_known_args()

SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", SLEEPER]).pid if given.child else 0
with given.notes.open("a") as notes:
    notes.write(
        json.dumps({"pid": os.getpid(), "child": child, "argv": sys.argv[1:], "stats": os.environ.get("VLLM_NO_USAGE_STATS")}) + "\n"
    )
lives = len(given.notes.read_text().splitlines())

sys.stdout.write(f"life {lives} begins\n")
sys.stdout.flush()
if given.fail:
    sys.stderr.write(f"ValueError: the key {os.environ.get('STAND_IN_KEY')} is wrong\n")
    sys.exit(3)
if given.deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
healthy_at = time.monotonic() + given.delay


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        since = time.monotonic() - healthy_at
        if given.hang_after is not None and lives == 1 and since > given.hang_after:
            time.sleep(60)
        self.answer(200 if since > 0 else 503, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if b"too hard" in body:
            return self.answer(400, b'{"error":{"message":"too hard"}}')
        if b"forever" in body:
            return self.forever()
        return self.answer(200, body)

    def answer(self, status, data):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("server-timing", "not for clients")
        self.end_headers()
        self.wfile.write(data)

    def forever(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        try:
            for number in range(3000):
                self.wfile.write(b"data: %d\n\n" % number)
                time.sleep(0.01)
        except OSError:
            given.notes.with_name("left").write_text("the client left")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
if given.crash_after is not None and lives <= given.crashes:
    import threading

    threading.Timer(given.delay + given.crash_after, lambda: os._exit(7)).start()
server.serve_forever()
