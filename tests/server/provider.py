"""A small OpenID provider on this machine: real keys, real HTTP, one user who always agrees."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT, SECRET = "mlwarehouse", "the client's secret"


class Provider:
    """The provider.

    Attributes:
        issuer: Its address.
        claims: What it says of its user; a test changes it.
        lies: What an ID token says otherwise.
        codes: What it gave out, with what was asked with it.
        n_keys_asked: How often its keys were fetched.
    """

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.claims: dict[str, Any] = {}
        self.lies: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.n_keys_asked = 0
        self.turn_keys()

    def turn_keys(self) -> None:
        """Sign by another key from now on."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig", "alg": "RS256"})

    def token(self, *, key: Any = None, alg: str = "RS256", **claims: Any) -> str:
        """A JWT that it signs, unless another key is given."""
        now = int(time.time())
        body = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "sub": "1", **self.claims, **claims}
        key = key or self.key
        return jwt.encode({"alg": alg, "kid": self.key.kid}, {k: v for k, v in body.items() if v is not None}, key)

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/leave",
            # A careless provider: it offers what nobody should take.
            "id_token_signing_alg_values_supported": ["none", "HS256", "RS256"],
        }

    def keys(self) -> dict[str, Any]:
        self.n_keys_asked += 1
        return KeySet([self.key]).as_dict(private=False)  # type: ignore[no-any-return]

    def agree(self, asked: dict[str, str]) -> str:
        """Where the browser goes when its user has agreed."""
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def redeem(self, authorization: str, given: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """A token for a code, once."""
        if base64.b64decode(authorization.removeprefix("Basic ")).decode() != f"{CLIENT}:{SECRET}":
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(given.get("code", ""), None)
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or challenge != asked["code_challenge"]
            or given["grant_type"] != "authorization_code"
            or given["redirect_uri"] != asked["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        token = self.token(**{"nonce": asked["nonce"], **self.lies})
        return 200, {"access_token": secrets.token_hex(8), "token_type": "Bearer", "id_token": token}


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider that listens."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
            if path == "/.well-known/openid-configuration":
                self.say(200, found.configuration())
            elif path == "/keys":
                self.say(200, found.keys())
            elif path == "/authorize":
                self.send_response(302)
                self.send_header("Location", found.agree(query))
                self.end_headers()
            else:
                self.say(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.say(*found.redeem(self.headers.get("Authorization", ""), dict(parse_qsl(body))))

        def say(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listening:
        found = Provider(listening.server_port)
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield found
        listening.shutdown()
        thread.join()
