"""A stand-in for an OpenID Connect provider: the whole code flow over loopback, with id tokens that are really signed
and PKCE that is really checked. What it lies about is for each test to say.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

CLIENT_ID, SECRET = "kilroy", "a secret of the provider"


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Provider:
    """`claims` replaces what the id token says, `told` what userinfo says; None leaves a claim out."""

    key: rsa.RSAPrivateKey = field(default_factory=new_key)
    signs_with: Any = None
    algorithm: str = "RS256"
    claims: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    person: dict[str, Any] = field(
        default_factory=lambda: {
            "sub": "17",
            "email": "alice@kilroy.example",
            "email_verified": True,
            "name": "Alice of the Provider",
        }
    )
    description: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def start(self) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": self}))
        self.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def allow(self, address: str) -> dict[str, str]:
        """The person says yes on the provider's page. Returns what the browser brings back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["client_id"], asked["response_type"]) == (CLIENT_ID, "code")
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def describes(self) -> dict[str, Any]:
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "userinfo_endpoint": f"{self.address}/userinfo",
            "jwks_uri": f"{self.address}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        } | self.description

    def keys(self) -> dict[str, Any]:
        public = json.loads(RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**public, "kid": "1", "alg": "RS256", "use": "sig"}]}

    def token(self, form: dict[str, str]) -> dict[str, Any] | None:
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or form.get("client_secret") != SECRET or challenge != asked["code_challenge"]:
            return None
        now = int(time.time())
        claims = {"iss": self.address, "aud": CLIENT_ID, "sub": self.person["sub"], "iat": now, "exp": now + 300}
        claims = {name: value for name, value in (claims | self.claims).items() if value is not None}
        signed = jwt.encode(claims, self.signs_with or self.key, algorithm=self.algorithm, headers={"kid": "1"})
        return {"access_token": "an access token", "token_type": "Bearer", "id_token": signed}


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        answers = {
            "/.well-known/openid-configuration": self.provider.describes,
            "/keys": self.provider.keys,
            "/userinfo": lambda: self.provider.person | self.provider.told,
        }
        self._answer(answers[urlsplit(self.path).path]())

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self._answer(self.provider.token({name: values[0] for name, values in form.items()}))

    def _answer(self, told: dict[str, Any] | None) -> None:
        self.provider.asked.append(self.path)
        body = json.dumps(told or {"error": "invalid_grant"}).encode()
        self.send_response(200 if told else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def back(path: str, brought: dict[str, str]) -> str:
    """The address by which the browser comes back."""
    return f"{path}?{urlencode(brought)}"
