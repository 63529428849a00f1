"""The first step of the home's guide."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from training.services import demo


@require_POST
@organization_page("bot_edit")
def sandbox_bot(request: OrganizationRequest) -> HttpResponse:
    """Make the sandbox bot and go to it; whoever clicks twice finds the same one."""
    try:
        bot = demo.make_sandbox_bot()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("bots:home", request.organization.slug)
    messages.success(request, f"{bot.name} is here and begins to learn. This page moves as it does.")
    return redirect("bots:overview", request.organization.slug, bot.pk)
