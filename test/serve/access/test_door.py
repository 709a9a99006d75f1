"""Who is let in, as what; and what a stranger is told."""

import base64
import hashlib
import hmac
import http.client
import json
import time

import jwt
import pytest

from src.core.errors import MlxError
from src.serve.access.keys import MARK, Keys
from src.serve.access.open_guard import open_guard
from src.serve.access.strength import made, strong

SECRET = made()


def bearer(text):
    return {"authorization": f"Bearer {text}"}


def test_without_a_good_key_nobody_comes_in(web, guarded, scripted):
    key = guarded.key()
    head, number, rest = key.split("_", 2)
    bad = {
        "none": {},
        "empty": {"authorization": ""},
        "no scheme": {"authorization": key},
        "Basic": {"authorization": f"Basic {key}"},
        "one letter off": bearer(key[:-1] + ("A" if key[-1] != "A" else "B")),
        "id alone": bearer(f"{head}_{number}"),
        "another id": bearer(f"{head}_{'0' * 12}_{rest}"),
        "its hash": bearer(Keys(guarded.folder).all()[0].hash),
        "twice": bearer(f"{key} {key}"),
        "long": bearer("x" * 9000),
        "é": bearer("\xe9"),
        "a jwt": bearer("a.b.c"),
    }
    with guarded.running(web, scripted, guarded.access()) as address:
        for name, headers in bad.items():
            status, told, body = web.ask(address, web.chat(), **headers)
            assert status == 401 and body["error"]["type"] == "authentication_error", name
            assert told["www-authenticate"].startswith("Bearer") and key not in json.dumps(body), name
        query = f"/v1/chat/completions?api_key={key}&access_token={key}"
        assert web.ask(address, web.chat(), path=query)[0] == 401
        assert scripted.asked == 0
        for scheme in ("Bearer", "bearer", "BEARER", "Bearer "):
            assert web.ask(address, web.chat(), authorization=f"{scheme} {key}")[0] == 200
        assert web.ask(address, path="/health", method="GET")[0] == 200


@pytest.mark.parametrize(
    ("path", "method"),
    [
        *[
            (path, "GET")
            for path in ("//health", "/health/", "/%2e/health", "/v1/../health", "/metrics", "/openapi.json", "/docs", "/", "/health%00")
        ],
        *[("/v1/models", method) for method in ("POST", "PUT", "OPTIONS", "HEAD", "QUERY")],
    ],
)
def test_every_other_path_is_behind_the_door(web, guarded, scripted, path, method):
    guarded.key()
    with guarded.running(web, scripted, guarded.access()) as address:
        for headers in ({}, {"host": "localhost/health?x="}, {"x_forwarded_for": "127.0.0.1", "x_original_url": "/health"}):
            connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
            connection.request(method, path, headers={key.replace("_", "-"): value for key, value in headers.items()})
            assert connection.getresponse().status == 401
            connection.close()


def test_a_role_says_which_models_and_paths(web, guarded, scripted):
    access = guarded.access(roles={"user": {"models": ["other"]}, "watcher": {"routes": ["/v1/models"]}, "all": {"routes": ["/v1/*"]}})
    user, watcher, everything = (guarded.key(role) for role in access.roles)
    with guarded.running(web, scripted, access) as address:
        status, _, body = web.ask(address, web.chat(), **bearer(user))
        assert (status, body["error"]["code"]) == (403, "model_not_allowed")
        assert web.ask(address, path="/v1/models", method="GET", **bearer(user))[2]["data"] == []
        status, _, body = web.ask(address, web.chat(), **bearer(watcher))
        assert (status, body["error"]["code"]) == (403, "route_not_allowed")
        assert web.ask(address, path="/v1/models", method="GET", **bearer(watcher))[2]["data"][0]["id"] == "keeper"
        assert web.ask(address, web.chat(), **bearer(everything))[0] == 200
        assert web.ask(address, path="/admin", method="GET", **bearer(everything))[0] == 403
        assert scripted.asked == 1


def test_a_revoked_key_is_refused_by_a_server_that_runs(web, guarded, scripted):
    first, second = guarded.key(), guarded.key()
    with guarded.running(web, scripted, guarded.access()) as address:
        assert web.ask(address, web.chat(), **bearer(first))[0] == 200
        Keys(guarded.folder).revoke(first.split("_")[1])
        assert web.ask(address, web.chat(), **bearer(first))[0] == 401
        assert web.ask(address, web.chat(), **bearer(second))[0] == 200
        third = guarded.key()
        assert web.ask(address, web.chat(), **bearer(third))[0] == 200
        Keys(guarded.folder).path.write_text("[{")
        status, _, body = web.ask(address, web.chat(), **bearer(third))
        assert status == 503 and "keys.json" not in json.dumps(body)


def test_keys_are_kept_as_hashes_for_the_owners_eyes(guarded):
    key = guarded.key()
    path = Keys(guarded.folder).path
    assert path.stat().st_mode & 0o777 == 0o600 and key.split("_", 2)[2] not in path.read_text()
    assert hashlib.sha256(key.encode()).hexdigest() in path.read_text()
    assert len(base64.urlsafe_b64decode(key.split("_", 2)[2] + "=")) == 32
    with pytest.raises(MlxError, match="no key 'nope'"):
        Keys(guarded.folder).revoke("nope")
    keys = Keys(guarded.folder)
    expired, text = keys.create(name="old", role="user", days=1e-9)
    assert keys.find(text) is None and expired.state == "expired"


def claims(**changed):
    now = int(time.time())
    full = {"sub": "ann", "role": "user", "iss": "mlx", "aud": "mlx", "exp": now + 600, "iat": now, "jti": "j1"} | changed
    return {key: value for key, value in full.items() if value is not None}


def forged(header, body, key=b""):
    """A token as anybody can put it together."""
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (header, body)]
    text = b".".join(parts)
    seal = hmac.new(key, text, hashlib.sha256).digest() if key else b""
    return (text + b"." + base64.urlsafe_b64encode(seal).rstrip(b"=")).decode()


@pytest.fixture
def with_jwt(guarded, monkeypatch):
    monkeypatch.setenv("MLX_JWT_SECRET", SECRET)
    return guarded.access(jwt={})


def test_a_signed_token_is_checked_claim_by_claim(web, guarded, scripted, with_jwt):
    now = int(time.time())
    wrong = {
        "no exp": claims(exp=None),
        "no sub": claims(sub=None),
        "no aud": claims(aud=None),
        "no iss": claims(iss=None),
        "over": claims(exp=now - 60),
        "exp 1e30": claims(exp=1e30),
        "exp in ten years": claims(exp=now + 3650 * 86400),
        "exp as text": claims(exp=str(now + 600)),
        "exp true": claims(exp=True),
        "not yet": claims(nbf=now + 600),
        "another aud": claims(aud="other"),
        "another iss": claims(iss="evil"),
        "iss list": claims(iss=["mlx"]),
        "role list": claims(role=["user"]),
        "no role": claims(role=None),
        "sub number": claims(sub=5),
        "sub empty": claims(sub=""),
        "jti number": claims(jti=5),
    }
    with guarded.running(web, scripted, with_jwt) as address:
        for name, body in wrong.items():
            text = forged({"alg": "HS256", "typ": "JWT"}, body, SECRET.encode())
            assert web.ask(address, web.chat(), **bearer(text))[0] == 401, name
        for header in ({"alg": "none"}, {"alg": "NoNe"}, {"alg": "HS512"}, {"alg": "RS256"}, {}, {"alg": ["HS256"]}):
            for key in (b"", SECRET.encode()):
                assert web.ask(address, web.chat(), **bearer(forged(header, claims(), key)))[0] == 401, header
        for kid in ("../../dev/null", "' OR 1=1 --", 5):
            assert web.ask(address, web.chat(), **bearer(forged({"alg": "HS256", "kid": kid}, claims(), b"x")))[0] == 401
        good = jwt.encode(claims(), SECRET, algorithm="HS256")
        head, _, seal = good.split(".")
        tampered = base64.urlsafe_b64encode(json.dumps(claims(role="admin")).encode()).rstrip(b"=").decode()
        assert web.ask(address, web.chat(), **bearer(f"{head}.{tampered}.{seal}"))[0] == 401
        assert scripted.asked == 0
        assert web.ask(address, web.chat(), **bearer(jwt.encode(claims(exp=now - 5), SECRET, algorithm="HS256")))[0] == 200  # leeway
        assert web.ask(address, web.chat(), **bearer(good))[0] == 200
        status, _, body = web.ask(address, web.chat(), **bearer(jwt.encode(claims(role="king"), SECRET, algorithm="HS256")))
        assert (status, body["error"]["code"]) == (403, "unknown_role")
        Keys(guarded.folder).revoke("j1", foreign=True)
        assert web.ask(address, web.chat(), **bearer(good))[0] == 401


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "not set"),
        ("tiny1", "shorter than 32"),
        ("changeme" * 5, "placeholder"),
        ("your-256-bit-secret-goes-in-here-now", "placeholder"),
        ("x" * 40, "repeats"),
        ("ab" * 20, "repeats"),
    ],
)
def test_a_weak_secret_keeps_the_server_from_starting(guarded, monkeypatch, value, words):
    monkeypatch.setenv("MLX_JWT_SECRET", value)
    with pytest.raises(MlxError, match=words) as error:
        open_guard(guarded.access(jwt={}), guarded.folder)
    assert "mlx token secret" in error.value.hint and (not value or value not in str(error.value))


def test_secrets_that_are_made_are_strong():
    for _ in range(300):
        strong(made(), "X")
    strong(hashlib.sha256(b"random enough").hexdigest(), "X")


def test_a_server_that_nobody_can_enter_does_not_start(guarded):
    with pytest.raises(MlxError, match="no valid key") as error:
        open_guard(guarded.access(), guarded.folder)
    assert "mlx token create --role user" in error.value.hint
    guarded.key("gone")
    with pytest.raises(MlxError, match=r"role that serve\.access\.roles lacks: gone"):
        open_guard(guarded.access(), guarded.folder)


def test_headers_have_a_limit(web, guarded, scripted):
    key = guarded.key()
    with guarded.running(web, scripted, guarded.access()) as address:
        status, told, body = web.ask(address, web.chat(), **bearer(key), x_long="a" * 20_000)
        assert status == 431 and body["error"]["code"] == "headers_too_large" and told["x-request-id"]
        many = {f"x_{number}": "a" for number in range(120)}
        assert web.ask(address, web.chat(), **bearer(key), **many)[0] == 431
        assert web.ask(address, web.chat(), **bearer(key), x_long="a" * 9_000)[0] == 200


def test_an_answer_bears_the_requests_id(web, guarded, scripted):
    key = guarded.key()
    with guarded.running(web, scripted, guarded.access()) as address:
        assert web.ask(address, web.chat(), **bearer(key), x_request_id="mine-1")[1]["x-request-id"] == "mine-1"
        assert web.ask(address, web.chat(), x_request_id="mine-2")[1]["x-request-id"] == "mine-2"
        other = web.ask(address, web.chat(), **bearer(key), x_request_id="a b")[1]["x-request-id"]
        assert len(other) == 16 and MARK not in other
