"""Nobody holds the server by being slow, and who leaves pays for what was begun."""

import http.client
import json
import socket
from pathlib import Path

from src.serve.route import Patience


def test_a_body_that_never_ends_is_cut_off(web, guarded, scripted):
    key = guarded.key()
    with guarded.running(web, scripted, guarded.access(), patience=Patience(body=0.3)) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-length: 99\r\n\r\n{{"
            client.sendall(head.encode())
            assert b" 408 " in client.recv(300)
        assert scripted.asked == 0


def test_an_answer_that_never_comes_is_given_up(web, guarded, scripted):
    scripted.go.clear()
    key = guarded.key()
    access = guarded.access(roles={"user": {"concurrent": 1}})
    with guarded.running(web, scripted, access, patience=Patience(answer=0.3)) as address:
        for _ in range(2):
            status, _, body = web.ask(address, web.chat(), authorization=f"Bearer {key}")
            assert status == 504 and body["error"]["code"] == "timeout"
        scripted.go.set()
        assert web.ask(address, web.chat(), authorization=f"Bearer {key}")[0] == 200


def test_who_leaves_frees_the_place_and_pays_for_what_was_begun(web, guarded, scripted):
    scripted.go.clear()
    key = guarded.key()
    with guarded.running(web, scripted, guarded.access(roles={"user": {"concurrent": 1}})) as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(web.chat(stream=True)), headers)
        web.until(lambda: scripted.asked == 1)
        assert web.ask(address, web.chat(), authorization=f"Bearer {key}")[0] == 429
        connection.close()
        web.until(lambda: '"answer"' in told())
        scripted.go.set()
        assert web.ask(address, web.chat(), authorization=f"Bearer {key}")[0] == 200


def told():
    return "".join(path.read_text() for path in Path("serve/audit").glob("*.jsonl"))
