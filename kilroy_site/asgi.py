"""The web process: pages and API over HTTP, live updates over websockets."""

from __future__ import annotations

import gc
import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kilroy_site.settings")
http = get_asgi_application()  # sets Django up, so it comes before anything that imports models

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import get_resolver  # noqa: E402

from bots.routing import websocket_urlpatterns  # noqa: E402

get_resolver().url_patterns  # noqa: B018 - imports all pages
gc.collect()
gc.freeze()  # what is loaded stays: looking through it for garbage, again and again, would hold up pages for 0.1 s

programs = URLRouter(websocket_urlpatterns)
browsers = AllowedHostsOriginValidator(AuthMiddlewareStack(programs))


async def websocket(scope: Any, receive: Any, send: Any) -> None:
    """Browsers name the origin of their page, and come with a session if it is ours. Whoever names none is a program:
    its session counts for nothing, it comes with a token.
    """
    named = any(name == b"origin" for name, _ in scope["headers"])
    await (browsers if named else programs)(scope, receive, send)


application = ProtocolTypeRouter({"http": http, "websocket": websocket})
