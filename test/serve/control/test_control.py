"""Health, lineage and administration: who sees what, and what turning it does."""

import http.client
import json
import threading
from itertools import product

import pytest

from src.serve.control import steering as module
from src.serve.control.lineage import made_from
from src.serve.control.steering import Steering
from src.serve.parse import parse
from src.serve.routing.settings import Shadows
from src.serve.routing.shadows import ShadowTraffic

from .test_metrics import counted


def test_health_is_told_to_everybody_model_by_model(plane):
    with plane.running() as address:
        assert plane.ask(address, "/health/live")[0::2] == (200, {"status": "live"})
        status, _, told = plane.ask(address, "/health/ready")
        assert status == 200 and told["status"] == "ready"
        assert told["models"]["one"] == {"state": "ready", "inflight": 0, "why": None}


def test_a_server_of_which_nothing_answers_is_not_ready_but_lives(plane):
    with plane.running() as address:
        for model in ("one", "two"):
            plane.ask(address, f"/admin/models/{model}/drain", "admin", "POST")
        status, _, told = plane.ask(address, "/health/ready")
        assert (status, told["status"]) == (503, "unavailable")
        assert plane.ask(address, "/health/live")[0] == 200
        plane.ask(address, "/admin/models/two/resume", "admin", "POST")
        status, _, told = plane.ask(address, "/health/ready")
        assert (status, told["status"], told["models"]["one"]["state"]) == (200, "degraded", "drained")


ROUTES = [
    ("GET", "/metrics"),
    ("GET", "/v1/lineage"),
    ("GET", "/admin/keys"),
    ("DELETE", "/admin/keys/abc"),
    ("POST", "/admin/reload"),
    ("POST", "/admin/models/one/drain"),
    ("POST", "/admin/models/one/resume"),
    ("GET", "/admin/status"),
    ("GET", "/admin/openapi.json"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_each_route_is_for_its_roles(plane, method, path):
    with plane.running() as address:
        assert plane.ask(address, path, None, method)[0] == 401
        assert plane.ask(address, path, "user", method)[0] == 403
        assert plane.ask(address, path, "watcher", method)[0] == (403 if path.startswith("/admin") else 200)
        assert plane.ask(address, path, "admin", method)[0] in (200, 404)


def test_what_became_of_tries_and_copies_is_told(plane):
    with plane.running() as address:
        gateway = plane.control.gateway
        gateway.shadows = ShadowTraffic(Shadows(most=1))
        for _ in range(2):
            assert plane.chat(address)[0] == 200
        call = parse(json.dumps(plane.web.chat(model="two")).encode())
        plane.upstream.mood = "slow"

        async def copies():
            for _ in range(3):
                gateway.shadows.send(gateway, "two", call)

        plane.on_loop(copies())
        counts = gateway.shadows.counts["two"]
        plane.web.until(lambda: counts.answered == 1)
        _, _, told = plane.ask(address, "/admin/status", "admin")
        metrics = counted(plane.ask(address, "/metrics", "watcher")[2])
    one, two = told["tries"]["one"], told["tries"]["two"]
    assert (one["asked"], one["answered"], one["failed"]) == (2, 2, 0) and one["first_byte_seconds"] > 0
    assert two["asked"] == 0, "a copy is no request of anybody's"
    shadow = told["shadows"]["two"]
    assert {key: shadow[key] for key in ("sent", "answered", "failed", "left_out")} == {
        "sent": 1,
        "answered": 1,
        "failed": 0,
        "left_out": 2,
    }
    assert shadow["seconds"] >= 0.4
    assert [metrics["mlx_shadow_copies_total", *sorted(("two", result))] for result in ("sent", "answered", "left_out")] == [1, 1, 2]
    assert metrics["mlx_shadow_seconds_total", "two"] == shadow["seconds"]


PATHS = ("/admin", "/admin/", "//admin/keys", "/admin/keys/", "/%61dmin/keys", "/admin%2fkeys", "/v1/../admin/keys", "/ADMIN/keys")


def test_no_spelling_of_a_path_and_no_method_leads_past_the_role(plane):
    with plane.running() as address:
        for method, path in product(("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE"), PATHS):
            connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
            connection.request(method, path, headers={"authorization": f"Bearer {plane.keys['user'][1]}"})
            response = connection.getresponse()
            assert response.status in (403, 404, 405), (method, path)
            assert plane.keys["admin"][0].id not in response.read().decode()
            connection.close()


def test_a_method_that_is_not_there_is_answered_with_those_that_are(plane):
    with plane.running() as address:
        for path, methods in (("/admin/adapters", "GET, POST"), ("/admin/keys", "GET"), ("/admin/reload", "POST")):
            status, headers, _ = plane.ask(address, path, "admin", "PUT")
            assert (status, headers["allow"]) == (405, methods)


def test_keys_are_listed_without_their_hashes_and_revoked(plane):
    with plane.running() as address:
        _, _, rows = plane.ask(address, "/admin/keys", "admin")
        assert {row["role"]: row["state"] for row in rows} == {"user": "valid", "watcher": "valid", "admin": "valid"}
        assert not any(key.hash in json.dumps(rows) or text in json.dumps(rows) for key, text in plane.keys.values())
        assert plane.chat(address)[0] == 200
        status, _, row = plane.ask(address, f"/admin/keys/{plane.keys['user'][0].id}", "admin", "DELETE")
        assert (status, row["state"]) == (200, "revoked")
        assert plane.chat(address)[0] == 401
        status, _, told = plane.ask(address, "/admin/keys/nobody", "admin", "DELETE")
        assert status == 404 and "no key 'nobody'" in told["error"]["message"]


def test_nobody_raises_their_own_role(plane):
    with plane.running() as address:
        number = plane.keys["user"][0].id
        for method in ("PUT", "PATCH", "POST"):
            for role in ("user", "admin"):
                body = {"role": "admin", "state": "valid", "routes": ["/admin/*"]}
                status = plane.web.ask(
                    address, body, path=f"/admin/keys/{number}", method=method, authorization=f"Bearer {plane.keys[role][1]}"
                )[0]
                assert status == (403 if role == "user" else 405)
        assert plane.ask(address, "/admin/keys", "user")[0] == 403


def test_a_drained_model_ends_what_it_is_at_and_takes_nothing_new(plane):
    plane.upstream.mood = "slow"
    answers = []
    with plane.running() as address:
        asking = threading.Thread(target=lambda: answers.append(plane.chat(address)[0]))
        asking.start()
        plane.web.until(lambda: plane.ask(address, "/health/ready")[2]["models"]["one"]["inflight"] == 1)
        told = plane.ask(address, "/admin/models/one/drain", "admin", "POST")[2]
        assert told == {"model": "one", "drained": True, "inflight": 1}
        status, headers, refused = plane.chat(address)
        assert (status, refused["error"]["code"], headers["retry-after"]) == (503, "drained", "30")
        assert plane.chat(address, "two")[0] == 200
        asking.join()
        assert answers == [200]
        assert plane.ask(address, "/admin/models/one/resume", "admin", "POST")[2]["drained"] is False
        assert plane.chat(address)[0] == 200
        assert plane.ask(address, "/admin/models/three/drain", "admin", "POST")[0] == 404
        assert plane.ask(address, "/admin/models/%20/drain", "admin", "POST")[0] in (404, 422)


def test_other_workers_follow(plane, monkeypatch):
    monkeypatch.setattr(module, "TICK", 0.05)
    with plane.running() as one, plane.running() as two:
        plane.ask(one, "/admin/models/one/drain", "admin", "POST")
        plane.web.until(lambda: plane.chat(two)[0] == 503, 5)
        plane.config = plane.settings({"user": {"models": ["two"]}, "admin": {"routes": ["/admin/*"]}, "watcher": {}})
        assert plane.ask(one, "/admin/reload", "admin", "POST")[0] == 200
        plane.web.until(lambda: plane.chat(two)[0] == 403, 5)
    with plane.running() as three:
        assert plane.chat(three)[0] == 403, "a worker that starts later follows too"
    Steering.forget(plane.folder)
    with plane.running() as four:
        assert plane.ask(four, "/health/ready")[2]["models"]["one"]["state"] == "ready"


def test_roles_are_read_anew_and_what_takes_a_restart_is_named(plane):
    with plane.running() as address:
        assert plane.chat(address)[0] == 200
        roles = {"user": {"models": ["two"]}, "watcher": {}, "admin": {"routes": ["/admin/*"]}}
        plane.config = plane.settings(roles, max_body_mb=5)
        status, _, told = plane.ask(address, "/admin/reload", "admin", "POST")
        assert (status, told) == (200, {"in_force": ["serve.access.roles"], "wait_for_restart": ["serve.max_body_mb"]})
        assert plane.chat(address)[0] == 403 and plane.chat(address, "two")[0] == 200
        assert plane.ask(address, "/admin/reload", "admin", "POST")[2]["in_force"] == []


def test_bad_settings_leave_the_old_ones_in_force(plane):
    with plane.running() as address:
        plane.spoil()
        status, _, told = plane.ask(address, "/admin/reload", "admin", "POST")
        assert status == 409 and "stay as they were: main.yaml:3" in told["error"]["message"]
        assert plane.chat(address)[0] == 200


def test_a_file_that_lost_its_door_opens_nothing(plane):
    with plane.running() as address:
        plane.config = plane.config.model_copy(update={"access": None})
        assert plane.ask(address, "/admin/reload", "admin", "POST")[2]["wait_for_restart"] == ["serve.access"]
        assert plane.ask(address, "/admin/keys")[0] == 401 and plane.ask(address, "/metrics", "user")[0] == 403


def test_a_damaged_steering_file_turns_nothing(plane):
    with plane.running() as address:
        plane.ask(address, "/admin/models/one/drain", "admin", "POST")
        (plane.folder / "steering.json").write_text("{")
        plane.control.steering._follow()
        assert plane.chat(address)[0] == 200


def test_without_a_door_there_is_no_administration(plane):
    with plane.running(guarded=False) as address:
        for method, path in ROUTES[2:]:
            assert plane.ask(address, path, None, method)[0] == 404
        assert plane.ask(address, "/metrics")[0] == 200 and plane.ask(address, "/v1/lineage")[0] == 200


def test_lineage_is_told_of_models_that_one_may_ask(plane):
    with plane.running() as address:
        assert set(plane.ask(address, "/v1/lineage", "admin")[2]["models"]) == {"one", "two"}
        assert set(plane.ask(address, "/v1/lineage", "watcher")[2]["models"]) == {"one"}


def test_lineage_reaches_from_a_model_to_its_sources_without_a_path_of_this_machine(finish, tmp_path):
    from src.core.manifest import NAME, Origin

    def note(folder, **more):
        path = folder / NAME
        path.write_text(json.dumps(json.loads(path.read_text()) | more))

    finish(tmp_path / "scrape", stage="scrape", fingerprint="s")
    sources = [{"type": "gutenberg", "ids": [76]}, {"type": "files", "path": str(tmp_path / "corpus"), "licence": "MIT"}]
    note(tmp_path / "scrape", config={"sources": sources})
    finish(
        tmp_path / "build", stage="build", fingerprint="b", inputs={"records": (Origin(path=str(tmp_path / "scrape"), fingerprint="s"),)}
    )
    finish(tmp_path / "train", fingerprint="t", inputs={"dataset": (Origin(path=str(tmp_path / "build"), fingerprint="b"),)})
    steps = made_from(tmp_path / "train")
    assert [(each["stage"], each["fingerprint"], each["inputs"]) for each in steps] == [
        ("train", "t", ["b"]),
        ("build", "b", ["s"]),
        ("scrape", "s", []),
    ]
    assert steps[2]["sources"] == [{"type": "gutenberg", "ids": [76]}, {"type": "files", "licence": "MIT", "path": "corpus"}]
    assert str(tmp_path) not in json.dumps(steps)
    finish(tmp_path / "scrape", stage="scrape", fingerprint="anew")
    assert [each["stage"] for each in made_from(tmp_path / "train")] == ["train", "build"]
    assert made_from(tmp_path / "nothing") == []


def test_openapi_tells_the_control_plane_to_administrators_alone(plane):
    with plane.running() as address:
        told = plane.ask(address, "/admin/openapi.json", "admin")[2]
        assert {"/admin/keys", "/admin/reload", "/health/ready", "/metrics", "/v1/lineage"} <= told["paths"].keys()
        for path in ("/openapi.json", "/docs", "/redoc", "/admin/docs"):
            assert plane.ask(address, path, "admin")[0] in (403, 404)
