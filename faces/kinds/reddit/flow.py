"""Allowing a connection on Reddit's own page: authorization code, for an app that its owner has registered there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import praw

from faces.contract import FaceError
from faces.kinds.reddit.one_request import hosts
from faces.kinds.reddit.tokens import SCOPES, ask_token, user_agent
from faces.oauth import Departure, Flow


class RedditFlow(Flow):
    """See `faces.oauth.Flow`. `given` holds the app: client_id and client_secret."""

    def begin(self, settings: Mapping[str, Any], given: Mapping[str, Any], callback: str, state: str) -> Departure:
        if not given.get("client_id") or not given.get("client_secret"):
            raise FaceError("Enter the client ID and the secret of your Reddit app.", permanent=True)
        reddit = praw.Reddit(
            client_id=given["client_id"],
            client_secret=given["client_secret"],
            redirect_uri=callback,
            user_agent=user_agent(settings),
            check_for_updates=False,
            check_for_async=False,
            **hosts(),
        )
        return Departure(reddit.auth.url(scopes=list(SCOPES), state=state, duration="permanent"))

    def finish(
        self, settings: Mapping[str, Any], given: Mapping[str, Any], keep: Mapping[str, Any], code: str, callback: str
    ) -> dict[str, Any]:
        asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": callback}
        tokens = ask_token(given, settings, asked)
        if "refresh_token" not in tokens:
            raise FaceError("Reddit gave permission for an hour only: connect again.", permanent=True)
        return {**given, **tokens}
