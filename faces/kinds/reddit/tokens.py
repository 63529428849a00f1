"""Reddit's tokens: the refresh token is kept for good, the access token lives for an hour or a day and is renewed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prawcore.const import ACCESS_TOKEN_PATH

from faces.contract import FaceError
from faces.kinds.reddit.one_request import OneRequest, hosts
from faces.models import Connection
from faces.oauth import expires_soon, expiry, fresh_secrets

SCOPES = ("identity", "submit", "read", "history", "edit", "privatemessages")
"""Own name; posting; reading posts; reading accounts; deleting; the inbox."""
TOKEN_SECONDS = 8.0
"""A token and a post together end before the publisher's deadman (30 s)."""


def live_secrets(connection: Connection, refused: str = "") -> dict[str, Any]:
    """The connection's credentials with an access token that lives, other than the one that Reddit has just `refused`.
    Raises FaceError: with `credentials` only where Reddit does not take the refresh token or the app any more.
    """

    def renew(known: dict[str, Any]) -> dict[str, Any]:
        if not known.get("refresh_token"):
            raise FaceError("The account has not allowed this connection at Reddit yet: connect again.", **_REFUSED)
        asked = {"grant_type": "refresh_token", "refresh_token": known["refresh_token"]}
        return {**known, **ask_token(known, connection.settings, asked)}

    return fresh_secrets(
        connection, renew, lambda known: expires_soon(known) or known.get("access_token", "") in ("", refused)
    )


def ask_token(given: Mapping[str, Any], public: Mapping[str, Any], asked: Mapping[str, str]) -> dict[str, Any]:
    """What Reddit gives for a grant, as it is kept: access_token, expires_at, scope, and refresh_token where it came
    with one. No error of it leaves a doubt about a post: nothing was published. Raises FaceError.
    """
    requestor = OneRequest(user_agent=user_agent(public), seconds=TOKEN_SECONDS, **hosts())
    app = (given.get("client_id", ""), given.get("client_secret", ""))
    try:
        told = requestor.request("POST", requestor.reddit_url + ACCESS_TOKEN_PATH, auth=app, data=dict(asked)).json()
        problem = str(told.get("error", ""))
        kept = {name: told[name] for name in ("access_token", "scope", "refresh_token") if told.get(name)}
        if not problem:
            return {**kept, "access_token": told["access_token"], "expires_at": expiry(float(told["expires_in"]))}
    except FaceError as error:
        raise _about_tokens(error) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FaceError("Reddit's answer holds no token.", permanent=False) from None
    raise FaceError(f"Reddit gives no token ({problem[:80]}): connect again.", **_REFUSED)


def user_agent(public: Mapping[str, Any]) -> str:
    """What Reddit asks of programs: platform, name, version, and whose it is."""
    return str(public.get("user_agent") or f"server:kilroy:v0.1 (by /u/{public.get('username') or 'unknown'})")


_REFUSED = {"permanent": True, "credentials": True}


def _about_tokens(error: FaceError) -> FaceError:
    if error.status == 401:
        return FaceError("Reddit does not know this app: check its client ID and secret.", **_REFUSED, status=401)
    if error.status == 400:
        return FaceError(
            "Reddit does not accept this connection's permission any more (invalid_grant): connect again.",
            **_REFUSED,
            status=400,
        )
    return FaceError(
        f"No token could be had: {error}",
        permanent=error.permanent and not error.status,  # an answer that says nothing of the grant may change
        retry_after=error.retry_after,
        status=error.status,
    )
