"""How programs prove who they are. (A module of its own: DRF imports it while it loads its views.)"""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import ApiToken, User
from accounts.tokens import find_token


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer klr_…`."""

    keyword = "Bearer"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != b"bearer":
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("Send one token: Authorization: Bearer klr_…")
        token = find_token(parts[1].decode("latin-1"))
        if token is None:
            raise AuthenticationFailed("This token is unknown, revoked or expired.")
        return token.membership.user, token

    def authenticate_header(self, request: Request) -> str:
        return self.keyword
