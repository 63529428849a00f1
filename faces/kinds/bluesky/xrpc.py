"""XRPC to an account's Personal Data Server (PDS), in a session that is kept (atproto.com/specs/xrpc).

An app password opens a session of two tokens: one for calls, good for some hours, and one that renews both. They are
sealed beside the app password, since a server allows 30 logins in five minutes. Both are opaque: the server says when
one has run out. Such a refusal proves that nothing was done, so the call is repeated with a new token; nothing else is
ever repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from accounts import outbound
from faces.contract import FaceError
from faces.http import Api
from faces.models import Connection
from faces.oauth import fresh_secrets

STALE = {"ExpiredToken", "InvalidToken"}
UNUSABLE = {
    "AccountTakedown": "Bluesky has taken this account down. Only Bluesky can tell why, and restore it.",
    "AccountSuspended": "Bluesky has suspended this account. Only Bluesky can tell why, and restore it.",
    "AccountDeactivated": "This account is deactivated. Reactivate it in Bluesky's settings, then check it here again.",
    "AuthFactorTokenRequired": "Bluesky asks for a code by e-mail, which it does for the account's own password alone: "
    "make an app password (Settings → Privacy and security → App passwords) and enter that.",
}
STATUSES = {"takendown": "AccountTakedown", "suspended": "AccountSuspended", "deactivated": "AccountDeactivated"}


class XrpcError(FaceError):
    """A FaceError with XRPC's own name for what is wrong, such as RecordNotFound; empty where there was none."""

    name: str = ""


class Xrpc:
    """Calls for one connection. Every verb raises XrpcError or FaceError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._http = outbound.session()
        self._name = ""

    @property
    def did(self) -> str:
        """The account's permanent name in the network."""
        return str(self._session()["did"])

    def get(self, method: str, *needed: str, **params: Any) -> dict[str, Any]:
        """What a method answers. Raises FaceError when a `needed` part is not in it."""
        found = self._call("get", method, params=params)
        if any(part not in found for part in needed):
            raise FaceError(f"Bluesky's answer to {method} is not complete.", permanent=False)
        return found

    def post(self, method: str, **body: Any) -> dict[str, Any]:
        return self._call("post", method, json=body)

    def upload(self, content: bytes, media_type: str) -> dict[str, Any]:
        """The reference of a blob: it names the content by its hash, so the same bytes have the same reference."""
        uploaded = self._call("post", "com.atproto.repo.uploadBlob", data=content, headers={"Content-Type": media_type})
        if not isinstance(uploaded.get("blob"), dict):
            raise FaceError("Bluesky's answer names no image.", permanent=False)
        return dict(uploaded["blob"])

    def _call(self, verb: str, method: str, **how: Any) -> dict[str, Any]:
        session = self._session()
        try:
            return self._ask(session["pds"], session["access_token"], verb, method, **how)
        except XrpcError as error:
            if error.name not in STALE:
                raise
        session = self._session(refused=session["access_token"])
        return self._ask(session["pds"], session["access_token"], verb, method, **how)

    def _session(self, refused: str = "") -> Mapping[str, Any]:
        """The connection's tokens: new ones, made by one process at a time, where there are none or the server has
        `refused` those.
        """

        def is_stale(known: Mapping[str, Any]) -> bool:
            return known.get("session_of") != self._login_of(known) or known["access_token"] == refused

        with unsent():
            return fresh_secrets(self._connection, self._renew, is_stale)

    def _renew(self, known: dict[str, Any]) -> dict[str, Any]:
        if known.get("session_of") == self._login_of(known):
            try:
                found = self._ask(known["pds"], known["refresh_token"], "post", "com.atproto.server.refreshSession")
                return known | self._opened(found, known["pds"])
            except XrpcError as error:
                if error.credentials or error.status not in (400, 401, 403):
                    raise
        return known | self._log_in(known) | {"session_of": self._login_of(known)}

    def _log_in(self, known: Mapping[str, Any]) -> dict[str, Any]:
        login = {"identifier": self._connection.settings["identifier"], "password": known.get("app_password", "")}
        try:
            found = self._ask(self._entry, "", "post", "com.atproto.server.createSession", json=login)
        except XrpcError as error:
            if error.status == 401 and error.name and not error.credentials:
                raise FaceError(
                    "Bluesky does not take this handle with this app password. Make a new app password (Settings → "
                    "Privacy and security → App passwords) and enter it.",
                    permanent=True,
                    credentials=True,
                    status=401,
                ) from None
            raise
        return self._opened(found, self._entry)

    def _opened(self, found: Mapping[str, Any], asked: str) -> dict[str, Any]:
        """A session as it is kept, from a server's answer."""
        check_active(found)
        try:
            tokens = {"access_token": found["accessJwt"], "refresh_token": found["refreshJwt"], "did": found["did"]}
        except KeyError:
            raise FaceError("Bluesky's answer to the login holds no session.", permanent=False) from None
        return tokens | {"pds": self._operators_base or _pds_of(found) or asked}

    def _ask(self, base: str, token: str, verb: str, method: str, **how: Any) -> dict[str, Any]:
        self._name = ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        api = Api("Bluesky", base, self._http, headers=headers, explain=self._explain)
        try:
            found = getattr(api, verb)(f"/xrpc/{method}", **how).data
        except FaceError as error:
            raise self._named(error, method) from error
        return found if isinstance(found, dict) else {}

    def _explain(self, data: Any) -> str:
        if not isinstance(data, Mapping):
            return ""
        self._name = str(data.get("error") or "")
        return str(data.get("message") or self._name)

    def _named(self, error: FaceError, method: str) -> XrpcError:
        """The error with its XRPC name. Only names that say so break a connection, never a bare 401; and what is wrong
        with a session says nothing against the post.
        """
        words, passing = str(error), self._name in STALE or error.status == 401 or _is_login(method)
        if self._name == "UpstreamFailure" or words.endswith(f"No service configured for {method}"):
            words = "This account's server knows no AppView, the part of Bluesky that counts likes and shows threads."
            if self._name == "UpstreamFailure":
                words = "Bluesky's AppView, which counts likes and shows threads, could not be reached."
        credentials = self._name in UNUSABLE
        named = XrpcError(
            UNUSABLE.get(self._name, words),
            permanent=credentials or (error.permanent and not passing),
            sent=error.sent,
            retry_after=error.retry_after,
            credentials=credentials,
            status=error.status,
        )
        named.name = self._name
        return named

    def _login_of(self, known: Mapping[str, Any]) -> str:
        """What a session was opened with: other settings or another app password need another one."""
        parts = (self._entry, self._connection.settings["identifier"], known.get("app_password", ""))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def _entry(self) -> str:
        """Where to log in."""
        return self._operators_base or str(self._connection.settings["host"])

    @property
    def _operators_base(self) -> str:
        return settings.API_BASES.get("bluesky", "")


@contextmanager
def unsent(why: str = "") -> Iterator[None]:
    """What fails within proves that no post was sent: it only prepares one."""
    try:
        yield
    except FaceError as error:
        raise FaceError(
            f"{why}{error}",
            permanent=error.permanent,
            retry_after=error.retry_after,
            credentials=error.credentials,
            status=error.status,
        ) from error


def check_active(session: Mapping[str, Any]) -> None:
    """Raises FaceError when a server's answer about a session says that the account cannot be used."""
    if session.get("active") is False:
        name = STATUSES.get(str(session.get("status")), "AccountDeactivated")
        raise FaceError(UNUSABLE[name], permanent=True, credentials=True)


def _is_login(method: str) -> bool:
    return method in ("com.atproto.server.createSession", "com.atproto.server.refreshSession")


def _pds_of(found: Mapping[str, Any]) -> str:
    """The PDS that an account's DID document names; empty where it names none."""
    document = found.get("didDoc")
    for service in document.get("service", ()) if isinstance(document, Mapping) else ():
        if str(service.get("id", "")).endswith("#atproto_pds"):
            return str(service.get("serviceEndpoint", "")).rstrip("/")
    return ""
