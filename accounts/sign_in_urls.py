"""Addresses of signing in: allauth's below `account/`, and those of our own."""

from allauth.account import urls as account_urls
from allauth.account import views as account_views
from django.urls import include, path
from django.views.generic import RedirectView

from accounts import oidc, sessions

MOVED = ("account_login", "account_logout")
account = [entry for entry in account_urls.urlpatterns if getattr(entry, "name", None) not in MOVED]

urlpatterns = [
    path("sign-in/", account_views.login, name="account_login"),
    path("sign-out/", account_views.logout, name="account_logout"),
    path("account/", RedirectView.as_view(pattern_name="mfa_index"), name="security"),
    path("account/", include(account)),
    path("account/second-factor/", include("allauth.mfa.urls")),
    path("account/sessions/", sessions.sessions, name="usersessions_list"),
    path("account/sso/", include("allauth.socialaccount.urls")),
    path("account/oidc/<str:provider_id>/login/", oidc.login, name="openid_connect_login"),
    path("account/oidc/<str:provider_id>/login/callback/", oidc.callback, name="openid_connect_callback"),
]
