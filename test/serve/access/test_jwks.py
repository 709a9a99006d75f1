"""Tokens of another issuer, by the keys it publishes: rotation, confusion of algorithms, games with `kid`, an issuer that is down."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import ValidationError

from src.serve.access import jwks
from src.serve.access.open_guard import open_guard

RSA = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
EC = ec.generate_private_key(ec.SECP256R1())


def public(key, kid, **more):
    made = (RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm).to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": kid, "use": "sig", **more}


def signed(key=RSA[0], kid="one", algorithm="RS256", headers=None, **changed):
    now = int(time.time())
    claims = {"sub": "ann", "role": "user", "iss": "mlx", "aud": "mlx", "exp": now + 600, **changed}
    return jwt.encode(claims, key, algorithm=algorithm, headers={**({"kid": kid} if kid is not None else {}), **(headers or {})})


class Issuer:
    """Publishes what `body` says, and counts who asked."""

    def __init__(self):
        self.status, self.headers, self.asked, self.pause = 200, {}, [], 0.0
        self.keys(public(RSA[0], "one"))

    def keys(self, *each):
        self.body = json.dumps({"keys": each}).encode()


@pytest.fixture
def issuer(monkeypatch):
    told = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            told.asked.append(self.path)
            time.sleep(told.pause)
            self.send_response(told.status)
            for key, value in told.headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_port}/keys"
    monkeypatch.setattr(jwks, "PAUSE", 0.0)
    yield told
    server.shutdown()
    server.server_close()


@pytest.fixture
def entered(web, guarded, scripted, issuer):
    """What the server says to tokens; a function from tokens to statuses."""

    def enter(*texts, algorithm="RS256", between=None):
        access = guarded.access(jwt={"algorithm": algorithm, "jwks_url": issuer.url})
        found = []
        with web.running(scripted, guard=open_guard(access, guarded.folder)) as address:
            for place, text in enumerate(texts):
                if place and between:
                    between(place)
                found.append(web.ask(address, web.chat(), authorization=f"Bearer {text}")[0])
        return found

    return enter


def test_a_token_of_the_issuer_opens(entered):
    assert entered(signed()) == [200]


def test_a_new_key_is_taken_up_and_an_old_one_forgotten(entered, issuer, monkeypatch):
    def rotate(place):
        if place == 2:
            issuer.keys(public(RSA[1], "two"))

    texts = [signed(), signed(RSA[1], "two"), signed(RSA[1], "two"), signed()]
    assert entered(*texts, between=rotate) == [200, 401, 200, 401]


def test_unknown_names_do_not_make_the_server_ask_each_time(entered, issuer, monkeypatch):
    monkeypatch.setattr(jwks, "PAUSE", 30.0)
    assert entered(signed(), *(signed(kid=f"x{number}") for number in range(20)), signed()) == [200, *[401] * 20, 200]
    assert len(issuer.asked) == 1


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def test_the_algorithm_is_that_of_the_settings_whatever_a_token_says(entered, issuer):
    pem = RSA[0].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = RSA[0].public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = signed().split(".")[1].encode()
    texts = []
    for key in (pem, pem.strip(), der, b"", json.dumps(public(RSA[0], "one")).encode()):
        for alg in ("HS256", "HS512", "none", "NONE"):
            text = b64(json.dumps({"alg": alg, "kid": "one", "typ": "JWT"}).encode()) + b"." + body
            seal = b64(hmac.new(key, text, hashlib.sha256).digest()) if alg.startswith("HS") else b""
            texts.append((text + b"." + seal).decode())
    issuer.keys(public(RSA[0], "one"), public(EC, "curve"))
    texts += [signed(EC, "curve", "ES256"), signed(RSA[0], "one", "RS512"), signed(RSA[0], "one", "PS256"), signed(RSA[1], "one")]
    assert set(entered(*texts)) == {401}
    assert entered(signed(EC, "curve", "ES256"), algorithm="ES256") == [200]


@pytest.mark.parametrize(
    "kid", ["../../../dev/null", "/etc/passwd", "' OR 1=1 --", "one\x00", "ONE", "", "x" * 4000, "http://evil.example/key", None]
)
def test_a_name_of_a_key_is_a_name_and_no_path_or_query(entered, kid):
    assert entered(signed(kid=kid)) == [401]


def test_a_key_that_a_token_brings_along_counts_for_nothing(entered, issuer):
    own = {"jwk": public(RSA[1], "one"), "jku": issuer.url + "/mine", "x5u": issuer.url + "/mine", "x5c": ["AAAA"]}
    assert entered(signed(RSA[1], "one", headers=own), signed(RSA[1], "two", headers=own)) == [401, 401]
    assert set(issuer.asked) == {"/keys"}


def test_published_keys_for_other_uses_are_no_keys(entered, issuer):
    secret = {"kty": "oct", "k": b64(b"x" * 32).decode(), "kid": "shared", "alg": "RS256"}
    damaged = [5, {}, {"kid": "none"}, {"kid": "bad", "kty": "RSA", "n": "!", "e": "AQAB"}, {"kid": ["one"], "kty": "RSA"}]
    issuer.keys(secret, public(RSA[1], "enc", use="enc"), public(RSA[1], "other", alg="RS512"), public(RSA[0], "one"))
    hs = jwt.encode({"sub": "ann", "role": "user"}, "x" * 32, algorithm="HS256", headers={"kid": "shared"})
    assert entered(hs, signed(RSA[1], "enc"), signed(RSA[1], "other"), signed()) == [401, 401, 401, 200]
    issuer.keys(*damaged, public(RSA[0], "one"))
    assert entered(signed()) == [200], "one damaged key hides the others"


@pytest.mark.parametrize("fault", ["down", "500", "html", "not a list", "huge", "redirect"])
def test_without_the_issuers_keys_nobody_is_let_in_and_told_to_try_again(entered, issuer, fault):
    if fault == "down":
        issuer.url = "http://127.0.0.1:1/keys"
    elif fault == "500":
        issuer.status = 500
    elif fault == "redirect":
        issuer.status, issuer.headers = 302, {"location": issuer.url + "/elsewhere"}
    else:
        issuer.body = {"html": b"<html>", "not a list": b'{"keys": 5}', "huge": b'{"keys": [' + b" " * 2_000_000 + b"]}"}[fault]
    assert entered(signed()) == [503]
    assert fault != "redirect" or set(issuer.asked) == {"/keys"}


def test_an_issuer_that_goes_down_keeps_nobody_out_who_was_known(entered, issuer, monkeypatch):
    monkeypatch.setattr(jwks, "FRESH", 0.0)

    def fall(place):
        issuer.status, issuer.body = 500, b"gone"

    assert entered(signed(), signed(), signed(kid="new"), between=fall) == [200, 200, 401]


def test_claims_count_with_these_keys_too(entered):
    now = int(time.time())
    bad = [{"aud": "other"}, {"iss": "evil"}, {"exp": now - 60}, {"nbf": now + 600}, {"role": ["user"]}, {"sub": ""}]
    assert set(entered(*(signed(**each) for each in bad))) == {401}


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/keys.json",
        "http://issuer.example/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://localhost@evil.example/keys",
        "ftp://127.0.0.1/keys",
        "//127.0.0.1/keys",
    ],
)
def test_keys_come_over_a_way_that_nobody_changes(guarded, url):
    with pytest.raises(ValidationError, match="https"):
        guarded.access(jwt={"algorithm": "RS256", "jwks_url": url})
