"""Tags of the shell: tabs and links, as bots/navigation.py has them."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context

from bots import navigation

register = template.Library()


@register.inclusion_tag("components/_bot_tabs.html", takes_context=True)
def bot_tabs(context: Context) -> dict[str, Any]:
    """The tabs of the bot that the page is about."""
    bot = context["bot"]
    args = [context["organization"].slug, bot.pk]
    sections, pages, section = navigation.bot_tabs(args, context["can"], context.get("tab") or "", _view(context))
    return {"bot": bot, "sections": sections, "pages": pages, "section": section}


@register.inclusion_tag("components/_tabs.html", takes_context=True)
def settings_tabs(context: Context) -> dict[str, Any]:
    """The tabs of an organization's settings."""
    organization = context["organization"]
    found = navigation.links(
        navigation.SETTINGS, [organization.slug], context["can"], context.get("tab") or "", _view(context)
    )
    return {"label": f"Settings of {organization}", "links": found}


@register.simple_tag(takes_context=True)
def organization_links(context: Context) -> list[navigation.Link]:
    """The main links of the organization that the page is in."""
    args = [context["organization"].slug]
    return navigation.links(navigation.ORGANIZATION, args, context["can"], "", _view(context))


def _view(context: Context) -> str:
    match = context["request"].resolver_match
    return str(match.view_name) if match else ""
