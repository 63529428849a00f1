"""A sandbox bot in one request."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.problems import MissingScope
from bots.api import BotSerializer
from bots.models import Bot
from training.services import demo

ALSO_NEEDED = ("dataset_edit", "run_control")
"""Permissions of what comes with the bot."""


class SandboxBotViewSet(OrganizationViewSet):
    queryset = Bot.objects.all()
    serializer_class = BotSerializer
    permissions: ClassVar[dict[str, str]] = {"create": "bot_edit"}

    @extend_schema(request=None, responses={201: BotSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A bot that speaks to a simulated audience, with the demo's posts, already learning. Whoever asks again gets
        the one that is there.
        """
        for permission in ALSO_NEEDED:
            if not self.membership.allows(permission):
                raise MissingScope(f"This token lacks the scope “{permission}”.", scope=permission)
        return Response(self.get_serializer(demo.make_sandbox_bot()).data, status=status.HTTP_201_CREATED)
