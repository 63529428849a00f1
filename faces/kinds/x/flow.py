"""OAuth 2.0 with PKCE for X: the person's own developer app, X's own page, tokens that live for two hours and are
renewed with a refresh token.

tweepy's handler of this flow writes to fixed hosts and without limits; these are three requests, so they are sent here.
Interface: docs.x.com, “OAuth 2.0 Authorization Code Flow with PKCE”.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings as site

from accounts import outbound
from faces.contract import FaceError
from faces.http import Api
from faces.kinds.x.api import base, explain
from faces.oauth import Departure, Flow, expiry, pkce

SCOPES = ("tweet.read", "tweet.write", "users.read", "offline.access", "media.write")
PAGE = "https://x.com/i/oauth2/authorize"
TOKENS = "/2/oauth2/token"
LIFETIME = 7200.0
FOR_A_WHILE = {"server_error", "temporarily_unavailable", "slow_down"}


class XFlow(Flow):
    """See `faces.oauth.Flow`."""

    def begin(self, settings: Mapping[str, Any], given: Mapping[str, Any], callback: str, state: str) -> Departure:
        if not settings.get("client_id"):
            raise FaceError("Enter the client ID of your developer app at X.", permanent=True)
        verifier, challenge = pkce()
        asked = {
            "response_type": "code",
            "client_id": settings["client_id"],
            "redirect_uri": callback,
            "scope": " ".join(SCOPES),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        page = f"{site.API_BASES['x']}/i/oauth2/authorize" if "x" in site.API_BASES else PAGE
        return Departure(f"{page}?{urlencode(asked, quote_via=quote)}", {"verifier": verifier})

    def finish(
        self, settings: Mapping[str, Any], given: Mapping[str, Any], keep: Mapping[str, Any], code: str, callback: str
    ) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback,
            "code_verifier": keep["verifier"],
        }
        try:
            return {**given, **_tokens(settings, given, form)}
        except FaceError as error:
            raise FaceError(f"{error} Start again.", permanent=error.permanent, status=error.status) from error


def renew(settings: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Credentials with a new access token. Raises FaceError: with `credentials` only when X has said that it does not
    take the refresh token or the app; anything else may pass. Either way nothing was published.
    """
    if not known.get("refresh_token"):
        raise FaceError(
            "X gave no permission that lasts: connect again and allow everything that it asks.",
            permanent=True,
            credentials=True,
        )
    form = {"grant_type": "refresh_token", "refresh_token": known["refresh_token"]}
    try:
        return {**known, **_tokens(settings, known, form)}
    except FaceError as error:
        raise FaceError(
            f"The permission could not be renewed: {error}",
            permanent=error.credentials,
            credentials=error.credentials,
            retry_after=error.retry_after,
            status=error.status,
        ) from error


class _TokenApi(Api):
    """The address for tokens. An error code of OAuth (RFC 6749, 5.2) is a refusal; any other answer says nothing about
    the permission. X answers a spent refresh token with `invalid_request`, not `invalid_grant`.
    """

    def _refusal(self, status: int, headers: Mapping[str, str], data: Any) -> FaceError:
        error = super()._refusal(status, headers, data)
        code = data.get("error") if isinstance(data, Mapping) else None
        if status in (400, 401, 403) and isinstance(code, str) and code not in FOR_A_WHILE:
            return FaceError(f"{error} ({code})", permanent=True, credentials=True, status=status)
        return error


def _tokens(settings: Mapping[str, Any], given: Mapping[str, Any], form: Mapping[str, str]) -> dict[str, Any]:
    """What X gives for a code or a refresh token, as it is to be sealed."""
    client_id, secret = str(settings.get("client_id", "")), str(given.get("client_secret") or "")
    how: dict[str, Any] = {"auth": (client_id, secret)} if secret else {}
    api = _TokenApi("X", base(), outbound.session(), explain=explain)
    answer = api.post(TOKENS, data={**form, "client_id": client_id}, **how).data
    token = answer.get("access_token") if isinstance(answer, Mapping) else None
    if not isinstance(token, str) or not token:
        raise FaceError("X answered without a token.", permanent=False, sent=True)
    found = {
        "access_token": token,
        "expires_at": expiry(float(answer.get("expires_in") or LIFETIME)),
        "scope": str(answer.get("scope") or " ".join(SCOPES)),
    }
    if answer.get("refresh_token"):
        found["refresh_token"] = str(answer["refresh_token"])
    return found
