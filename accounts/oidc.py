"""Single sign-on by OpenID Connect: allauth's flow, with what it leaves to trust checked.

The id token's signature is verified although it came straight from the provider, both answers must speak of the same
subject, and an address counts as verified only where the provider says exactly so.
"""

from __future__ import annotations

from typing import Any

import jwt
from allauth.account.internal.decorators import login_not_required
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from requests import RequestException

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""With a public key only: a token must not be signed with what anybody can read."""
CLOCKS_APART = 30
"""Seconds by which the provider's clock may differ."""


class Adapter(OpenIDConnectOAuth2Adapter):
    def get_access_token_data(self, *args: Any, **kwargs: Any) -> Any:
        """What the provider gives for a code. Raises OAuth2Error, without the provider's words: it may send back what
        it was asked with, our secret among it.
        """
        try:
            return super().get_access_token_data(*args, **kwargs)
        except OAuth2Error:
            raise OAuth2Error("The provider gave no token for the code.") from None

    def complete_login(self, request: HttpRequest, app: SocialApp, token: Any, **kwargs: Any) -> Any:
        """The sign-in that the provider's answer stands for. Raises OAuth2Error."""
        id_token = kwargs["response"].get("id_token")
        if not id_token:
            raise OAuth2Error("The provider sent no id token.")
        claims = self.verified_claims(app, id_token)
        told = self._fetch_user_info(token.token)
        if told.get("sub") != claims["sub"]:
            raise OAuth2Error("The provider's two answers speak of different people.")
        told["email_verified"] = told.get("email_verified") is True
        told["subject"] = f"{claims['iss']} {claims['sub']}"  # a subject is one only together with its issuer
        return self.get_provider().sociallogin_from_response(request, {"userinfo": told, "id_token": claims})

    def verified_claims(self, app: SocialApp, id_token: str) -> dict[str, Any]:
        """What the id token says, once it is known to be the provider's, for us, and of now. Raises OAuth2Error."""
        with get_adapter().get_requests_session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
            answer.raise_for_status()
        try:
            header = jwt.get_unverified_header(id_token)
            keys = jwt.PyJWKSet.from_dict(answer.json()).keys
            key = next(key for key in keys if key.key_id == header.get("kid"))
            claims: dict[str, Any] = jwt.decode(
                id_token,
                key,
                algorithms=ALGORITHMS,
                audience=app.client_id,
                issuer=self.openid_config["issuer"],
                leeway=CLOCKS_APART,
                options={"require": ["exp", "iat", "aud", "iss", "sub"]},
            )
        except (jwt.PyJWTError, StopIteration, KeyError, TypeError) as error:
            raise OAuth2Error(f"The id token cannot be trusted: {error!r}") from error
        return claims


@login_not_required
def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Go to the provider: asked on GET, done on POST."""
    try:
        answer: HttpResponse = OAuth2LoginView.adapter_view(Adapter(request, provider_id))(request)
    except SocialApp.DoesNotExist:
        raise Http404 from None
    except (RequestException, KeyError) as error:
        return _failed(request, provider_id, error)
    if request.method == "POST" and isinstance(answer, HttpResponseRedirect):
        # The content security policy lets forms lead to this site only, also by way of a redirect.
        return render(request, "socialaccount/login_redirect.html", {"redirect_to": answer.url})
    return answer


@login_not_required
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Come back from the provider."""
    try:
        answer: HttpResponse = OAuth2CallbackView.adapter_view(Adapter(request, provider_id))(request)
    except SocialApp.DoesNotExist:
        raise Http404 from None
    except KeyError as error:
        return _failed(request, provider_id, error)
    return answer


def _failed(request: HttpRequest, provider_id: str, error: Exception) -> HttpResponse:
    """The page for a provider that cannot be reached, or whose description of itself lacks something."""
    provider = get_adapter().get_provider(request, provider=provider_id)
    answer: HttpResponse = render_authentication_error(request, provider, exception=error)
    return answer
