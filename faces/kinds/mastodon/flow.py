"""OAuth 2.0 with an instance: Kilroy registers itself there, since no app is known to all instances.

Interface: docs.joinmastodon.org/methods/apps and /methods/oauth. Tokens do not expire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.conf import settings as site

from faces.contract import FaceError
from faces.kinds.mastodon.instance import api
from faces.oauth import Departure, Flow, pkce

SCOPES = "read write:statuses write:media"


class MastodonFlow(Flow):
    """See `faces.oauth.Flow`. What the instance gave the app at its registration is kept until the person returns."""

    def begin(self, settings: Mapping[str, Any], given: Mapping[str, Any], callback: str, state: str) -> Departure:
        instance = settings["instance"]
        form = {"client_name": "Kilroy", "redirect_uris": callback, "scopes": SCOPES, "website": site.PUBLIC_URL}
        app = api(instance).post("/api/v1/apps", data=form).data
        try:
            known = {"client_id": str(app["client_id"]), "client_secret": str(app["client_secret"])}
        except (KeyError, TypeError):
            raise FaceError(f"{instance} did not register Kilroy: is it an instance?", permanent=True) from None
        verifier, challenge = pkce()  # heeded since Mastodon 4.3, ignored before
        asked = {
            "response_type": "code",
            "client_id": known["client_id"],
            "redirect_uri": callback,
            "scope": SCOPES,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return Departure(f"{instance}/oauth/authorize?{urlencode(asked)}", {**known, "verifier": verifier})

    def finish(
        self, settings: Mapping[str, Any], given: Mapping[str, Any], keep: Mapping[str, Any], code: str, callback: str
    ) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": keep["client_id"],
            "client_secret": keep["client_secret"],
            "redirect_uri": callback,
            "code_verifier": keep["verifier"],
            "scope": SCOPES,
        }
        answer = api(settings["instance"]).post("/oauth/token", data=form).data
        token = answer.get("access_token") if isinstance(answer, Mapping) else None
        if not isinstance(token, str) or not token:
            raise FaceError("Mastodon answered without a token.", permanent=False, sent=True)
        return {**given, "access_token": token, "scope": str(answer.get("scope") or SCOPES)}
