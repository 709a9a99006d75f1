"""AUTH: each way of getting in without the right to, by its name."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from src.core.errors import MlxError
from src.serve.access import keys as keys_module
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.access.settings import Access

from .conftest import CHAT, status_of


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def claims(**changed):
    now = int(time.time())
    full = {"sub": "ann", "role": "user", "iss": "mlx", "aud": "mlx", "exp": now + 600, "nbf": now - 1, "jti": "j1", **changed}
    return {key: value for key, value in full.items() if value is not None}


def token(secret, header=None, key=None, **changed):
    """A token as anybody can put it together; signed with HS256 where it is not told otherwise."""
    head = {"alg": "HS256", "typ": "JWT", **(header or {})}
    text = b64(json.dumps(head).encode()) + b"." + b64(json.dumps(claims(**changed)).encode())
    key = secret.encode() if key is None else key
    return (text + b"." + (b64(hmac.new(key, text, hashlib.sha256).digest()) if key else b"")).decode()


PUBLIC = rsa.generate_private_key(65537, 2048).public_key()
PEM = PUBLIC.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
NOW = int(time.time())
TOKENS = {
    "alg_none": {"header": {"alg": "none"}, "key": b""},
    "alg_NoNe": {"header": {"alg": "NoNe"}, "key": b""},
    "alg_none_with_signature": {"header": {"alg": "none"}},
    "alg_missing": {"header": {"alg": None}},
    "alg_list": {"header": {"alg": ["HS256"]}},
    "alg_hs256_with_public_key": {"key": PEM},
    "empty_secret": {"key": b"\0"},
    "default_secret": {"key": b"secret"},
    "crit_header": {"header": {"crit": ["exp"]}, "key": b"x"},
    "b64_false": {"header": {"b64": False, "crit": ["b64"]}},
    "missing_exp": {"exp": None},
    "missing_sub": {"sub": None},
    "missing_aud": {"aud": None},
    "missing_iss": {"iss": None},
    "missing_role": {"role": None},
    "exp_past": {"exp": NOW - 60},
    "exp_1e30": {"exp": 1e30},
    "exp_float_past": {"exp": NOW - 60.5},
    "exp_string": {"exp": str(NOW + 600)},
    "exp_true": {"exp": True},
    "exp_null_text": {"exp": "null"},
    "exp_list": {"exp": [NOW + 600]},
    "exp_ten_years": {"exp": NOW + 3650 * 86_400},
    "nbf_future": {"nbf": NOW + 3600},
    "nbf_string": {"nbf": "soon"},
    "iat_future": {"iat": NOW + 3600},
    "wrong_aud": {"aud": "other"},
    "wrong_iss": {"iss": "evil"},
    "iss_list": {"iss": ["mlx"]},
    "sub_number": {"sub": 5},
    "sub_empty": {"sub": ""},
    "sub_long": {"sub": "a" * 5000},
    "role_list": {"role": ["admin"]},
    "role_object": {"role": {"admin": True}},
    "jti_number": {"jti": 5},
    "kid_path_traversal": {"header": {"kid": "../../../../dev/null"}, "key": b"\0"},
    "kid_sql": {"header": {"kid": "x' UNION SELECT 'a"}, "key": b"a"},
    "kid_null": {"header": {"kid": "\0"}, "key": b"\0"},
    "jku_header": {"header": {"jku": "http://evil.example/keys"}, "key": b"x"},
    "jwk_header": {"header": {"jwk": {"kty": "oct", "k": "eA"}}, "key": b"x"},
}


@pytest.mark.parametrize("name", TOKENS)
def test_token(gate, name):
    status, headers, told = gate.ask(role=None, authorization=f"Bearer {token(gate.secret, **TOKENS[name])}")
    assert status == 401 and told["error"]["code"] == "invalid_api_key" and headers["www-authenticate"].startswith("Bearer"), told
    assert "exp" not in told["error"]["message"], "it tells what is wrong with it"


def test_token_that_is_good(gate):
    for changed in ({}, {"aud": ["mlx", "other"]}, {"exp": time.time() + 600.5}, {"jti": None}):
        assert gate.ask(role=None, authorization=f"Bearer {token(gate.secret, **changed)}")[0] == 200


def test_token_clock_skew_within_the_leeway(gate):
    assert gate.ask(role=None, authorization=f"Bearer {token(gate.secret, exp=int(time.time()) - 5)}")[0] == 200
    assert gate.ask(role=None, authorization=f"Bearer {token(gate.secret, exp=int(time.time()) - 15)}")[0] == 401


def test_token_100_kb(gate):
    assert gate.ask(role=None, authorization="Bearer " + token(gate.secret, sub="a" * 75_000))[0] == 431
    assert gate.ask(role=None, authorization="Bearer " + token(gate.secret, sub="a" * 7_000))[0] == 401


def test_token_role_claim_tampered(gate):
    head, _, seal = token(gate.secret).split(".")
    body = b64(json.dumps(claims(role="admin")).encode()).decode()
    assert gate.ask(role=None, path="/admin/keys", method="GET", authorization=f"Bearer {head}.{body}.{seal}")[0] == 401


def test_token_of_an_unknown_role(gate):
    status, _, told = gate.ask(role=None, authorization=f"Bearer {token(gate.secret, role='root')}")
    assert (status, told["error"]["code"]) == (403, "unknown_role")


def test_token_revoked_by_jti(gate):
    text = token(gate.secret, jti="gone")
    assert gate.ask(role=None, authorization=f"Bearer {text}")[0] == 200
    Keys(gate.folder).revoke("gone", foreign=True)
    assert gate.ask(role=None, authorization=f"Bearer {text}")[0] == 401, "a token found good before is not looked at again"


SCHEMES = {
    "bearer_lower": ("bearer {}", 200),
    "BEARER_upper": ("BEARER {}", 200),
    "double_space": ("Bearer  {}", 200),
    "tab": ("Bearer\t{}", 200),
    "no_scheme": ("{}", 401),
    "basic": ("Basic {}", 401),
    "token": ("Token {}", 401),
    "twice_in_one": ("Bearer {0} {0}", 401),
    "comma": ("Bearer {}, Bearer x", 401),
    "quoted": ('Bearer "{}"', 401),
    "empty": ("", 401),
    "bearer_alone": ("Bearer", 401),
    "nul": ("Bearer {}\0", (400, 401)),
    "é": ("Bearer é{}", 401),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_scheme(gate, name):
    form, wanted = SCHEMES[name]
    answer = gate.said(gate.head(f"authorization: {form.format(gate.keys['user'])}", method="GET", path="/v1/models", key=False))
    assert status_of(answer) in (wanted if isinstance(wanted, tuple) else (wanted,)), answer


def test_two_authorization_headers(gate):
    key = gate.keys["user"]
    answer = gate.said(gate.head("authorization: Bearer x", f"authorization: Bearer {key}", method="GET", path="/v1/models", key=False))
    assert status_of(answer) == 401


@pytest.mark.parametrize("place", ["api_key", "access_token", "key", "token", "authorization"])
def test_key_in_the_query(gate, place):
    assert gate.ask(role=None, path=f"{CHAT}?{place}={gate.keys['user']}")[0] == 401


@pytest.mark.parametrize(
    "header", ["x_api_key", "api_key", "cookie", "proxy_authorization", "x_forwarded_authorization", "x_original_authorization"]
)
def test_key_in_another_header(gate, header):
    key = gate.keys["user"]
    assert gate.ask(role=None, **{header: f"authorization=Bearer {key}" if header == "cookie" else f"Bearer {key}"})[0] == 401


PATHS = [
    "/admin/keys",
    "//admin/keys",
    "/admin//keys",
    "/admin/",
    "/admin",
    "/%61dmin/keys",
    "/admin%2Fkeys",
    "/%2e/admin/keys",
    "/v1/../admin/keys",
    "/v1/..%2fadmin/keys",
    "/admin/keys/.",
    "/admin/keys;x=1",
    "/admin/keys%00",
    "/Admin/Keys",
    "/admin/keys?x=/v1/models",
    "/metrics",
    "/admin/openapi.json",
]


@pytest.mark.parametrize("path", PATHS)
def test_admin_route_with_a_users_key(gate, path):
    for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "FOO"):
        answer = gate.said(gate.head(method=method, path=path), wait=0.3)
        assert status_of(answer) in (0, 400, 403, 404, 405), (method, answer)
        assert b'"role"' not in answer and b"mlx_requests" not in answer


OVERRIDES = [
    "x-http-method-override: DELETE",
    "x-original-url: /admin/keys",
    "x-rewrite-url: /admin/keys",
    "x-forwarded-prefix: /admin",
    "x-forwarded-path: /admin/keys",
    "x-mlx-role: admin",
    "x-user-role: admin",
]


@pytest.mark.parametrize("header", OVERRIDES)
def test_header_that_would_change_path_method_or_role(gate, header):
    answer = gate.said(gate.head(header, method="GET", path="/v1/models"))
    assert status_of(answer) == 200 and b'"object":"list"' in answer and b'"role"' not in answer


HOSTS = {
    "evil": ("evil.example", 403),
    "path_in_host": ("localhost/health?x=", 403),
    "userinfo": ("localhost@evil.example", 403),
    "empty": ("", 403),
    "space": ("localhost evil.example", 403),
    "suffix": ("localhost.evil.example", 403),
    "port": ("localhost:99999", 200),
    "upper": ("LOCALHOST", 200),
    "v6": ("[::1]:8000", 200),
    "v6_broken": ("[::1", 403),
    "decimal_ip": ("2130706433", 403),
    "nul": ("local\0host", (400, 403)),
}


@pytest.mark.parametrize("name", HOSTS)
def test_host(gate, name):
    host, wanted = HOSTS[name]
    key = gate.keys["user"]
    answer = gate.said(f"GET /v1/models HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\r\n".encode("latin-1"))
    assert status_of(answer) in (wanted if isinstance(wanted, tuple) else (wanted,)), answer


def test_host_that_spells_a_public_path_needs_a_key_all_the_same(gate):
    answer = gate.said(b"GET /v1/models HTTP/1.1\r\nhost: localhost/health?x=\r\n\r\n")
    assert status_of(answer) == 401


@pytest.mark.parametrize("header", ["x-forwarded-for", "x-real-ip", "forwarded", "x-client-ip", "true-client-ip"])
def test_spoofed_address_is_not_written_down(gate, header):
    given = "for=6.6.6.6" if header == "forwarded" else "6.6.6.6"
    assert gate.ask(x_request_id=f"spoof-{header}", **{header.replace("-", "_"): given})[0] == 200
    lines = [json.loads(line) for line in gate.audit.splitlines() if f"spoof-{header}" in line]
    assert lines and all(line["client"] == "127.0.0.1" for line in lines)


WEAK = {"unset": "", "short": "tiny1", "default": "changeme" * 5, "manual": "your-256-bit-secret-goes-in-here-now", "repeating": "ab" * 20}


@pytest.mark.parametrize("name", WEAK)
def test_secret_that_refuses_to_boot(monkeypatch, tmp_path, name):
    monkeypatch.setenv("MLX_JWT_SECRET", WEAK[name])
    with pytest.raises(MlxError) as refused:
        open_guard(Access.model_validate({"roles": {"user": {}}, "jwt": {}}), tmp_path)
    assert not WEAK[name] or WEAK[name] not in str(refused.value)


def test_keys_are_compared_in_constant_time(tmp_path, monkeypatch):
    """Whatever comes is hashed and its whole hash compared, of keys that there are and of others; nothing else looks at it."""
    good = Keys(tmp_path).create(name="ann", role="user", days=None)[1]
    keys, compared = Keys(tmp_path), []
    really = hmac.compare_digest
    monkeypatch.setattr(keys_module.hmac, "compare_digest", lambda one, other: compared.append((one, other)) or really(one, other))
    number = good.split("_")[1]
    texts = {good: True, good[:-1] + "~": False, f"mlx_{number}_": False, "mlx_000000000000_x": False, "": False, "mlx_": False, "é": False}
    for text, found in texts.items():
        assert (keys.find(text) is not None) == found
    assert len(compared) == len(texts), "somebody learns by the time which keys there are"
    assert {(len(one), len(other)) for one, other in compared} == {(64, 64)}
    assert [one for one, _ in compared] == [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    monkeypatch.setattr(keys_module.hmac, "compare_digest", lambda one, other: False)
    assert keys.find(good) is None, "a key is compared by something else"
    assert all(good.split("_", 2)[2] not in path.read_text() for path in tmp_path.iterdir()), "keys are kept as hashes"


def test_library_and_server_agree_on_a_good_token(gate):
    text = jwt.encode(claims(), gate.secret, algorithm="HS256")
    assert gate.ask(role=None, authorization=f"Bearer {text}")[0] == 200
