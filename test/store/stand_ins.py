"""Loopback servers that answer as Qdrant and ArangoDB document it, as far as the stores ask them; run as a script too."""

import argparse
import contextlib
import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np

from src.store.arango import IDS, NEAREST, NEAREST_INDEXED, NEAREST_WHERE, REMOVE


class StandIn(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, answer, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.answer = answer
        self.rows = {}
        """Collections by name, of rows by id."""
        self.asked = []
        """Method, path, body and headers of each request."""
        self.indexes = []
        self.connections = set()
        self.broken = False
        """Whether it answers 500 to everything."""

    def gone(self):
        """Listen no longer and end all connections, as a process that was killed."""
        self.socket.close()
        for each in list(self.connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        path = urlsplit(self.path).path
        self.server.asked.append((self.command, self.path, body, dict(self.headers)))
        status, answer = (500, {"error": True, "errorMessage": "broken"}) if self.server.broken else self.server.answer(self, path, body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = _handle

    def log_message(self, *words):
        pass


@contextmanager
def serving(answer, port=0):
    with StandIn(answer, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def qdrant(handler, path, body):
    _, _, name, *rest = path.split("/")
    collections = handler.server.rows
    match handler.command, rest:
        case "GET", ["exists"]:
            return 200, {"result": {"exists": name in collections}, "status": "ok", "time": 0.0}
        case "PUT", []:
            assert body["vectors"] == {"size": body["vectors"]["size"], "distance": "Dot"}
            collections[name] = {}
            return 200, {"result": True, "status": "ok", "time": 0.0}
        case "PUT", ["points"]:
            collections[name] |= {point["id"]: point for point in body["points"]}
        case "POST", ["points", "delete"]:
            for each in body["points"]:
                collections[name].pop(each, None)
        case "POST", ["points", "scroll"]:
            ids = sorted(collections[name])
            start = ids.index(body["offset"]) if body.get("offset") else 0
            stop = start + body["limit"]
            points = [{"id": each, "payload": collections[name][each]["payload"]} for each in ids[start:stop]]
            after = ids[stop] if stop < len(ids) else None
            return 200, {"result": {"points": points, "next_page_offset": after}, "status": "ok", "time": 0.0}
        case "POST", ["points", "query"]:
            assert body["params"]["exact"]
            equal = {each["key"].removeprefix("meta."): each["match"]["value"] for each in (body.get("filter") or {}).get("must", [])}
            rows = [row for row in collections[name].values() if equal.items() <= row["payload"]["meta"].items()]
            asked = body["query"]
            found = _nearest(rows, asked["nearest"] if isinstance(asked, dict) else asked, body["limit"])
            return 200, {"result": {"points": [row | {"version": 0, "score": 0.0} for row in found]}, "status": "ok", "time": 0.0}
    return 200, {"result": {"operation_id": 0, "status": "completed"}, "status": "ok", "time": 0.0}


def arango(handler, path, body):
    rest = path.split("/_api/")[1].split("/")
    server = handler.server
    match handler.command, rest:
        case "GET", ["collection"]:
            listed = [{"id": name, "name": name, "isSystem": False, "type": 2, "status": 3} for name in server.rows]
            return 200, {"error": False, "code": 200, "result": listed}
        case "POST", ["collection"]:
            server.rows[body["name"]] = {}
            return 200, {"error": False, "code": 200, "id": "1", "name": body["name"], "type": 2, "status": 3, "isSystem": False}
        case "GET", ["index"]:
            return 200, {"error": False, "code": 200, "indexes": [{"id": "c/0", "type": "primary", "fields": ["_key"]}, *server.indexes]}
        case "POST", ["index"]:
            server.indexes.append({"id": "c/1", "name": "vector", **body})
            return 201, {"error": False, "code": 201, **server.indexes[-1]}
        case "POST", ["document", name]:
            server.rows[name] |= {document["_key"]: document for document in body}
            return 202, [{"_key": document["_key"], "_id": f"{name}/{document['_key']}", "_rev": "1"} for document in body]
        case "GET", ["collection", name, "count"]:
            return 200, {"error": False, "code": 200, "count": len(server.rows[name])}
        case "POST", ["cursor"]:
            found = _asked(server.rows[body["bindVars"]["@rows"]], body["query"], body["bindVars"])
            return 201, {"error": False, "code": 201, "result": found, "hasMore": False, "cached": False, "extra": {}}
    return 404, {"error": True, "code": 404, "errorNum": 404, "errorMessage": path}


def _asked(rows, query, values):
    if query == IDS:
        return [row["id"] for row in rows.values()]
    if query == REMOVE:
        for key in values["keys"]:
            rows.pop(key, None)
        return []
    assert query in (NEAREST, NEAREST_INDEXED, NEAREST_WHERE)
    wanted = [row for row in rows.values() if query != NEAREST_WHERE or values["meta"].items() <= row["meta"].items()]
    return _nearest(wanted, values["unit"], values["wanted"])


def _nearest(rows, unit, limit):
    return sorted(rows, key=lambda row: -float(np.dot(row["vector"], unit)))[:limit]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["qdrant", "arango"])
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    StandIn({"qdrant": qdrant, "arango": arango}[given.kind], given.port).serve_forever()
