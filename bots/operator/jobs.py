"""What the machinery is doing across organizations: rooms register what they have, as sections of one page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts import clock
from accounts.models import Export, Site, WebhookDelivery
from bots.models import Post, Takedown
from bots.states import PostState

MOST = 50


@dataclass(frozen=True)
class Row:
    """One line: its cells in the order of the columns, whether something is wrong with it, the address of its own page
    in the panel, and what can be done about it as (verb, label) on the row `pk`.
    """

    cells: tuple[Any, ...]
    wrong: bool = False
    url: str = ""
    pk: Any = None
    verbs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """A table of the page. `empty` is said where there is nothing; `more` where there are more rows than shown."""

    title: str
    columns: tuple[str, ...]
    rows: list[Row]
    empty: str
    more: bool = field(default=False)


SECTIONS: list[Callable[[], Section]] = []
"""What higher rooms add: called in this order, theirs first."""


def sections() -> list[Section]:
    """Everything there is to see."""
    return [each() for each in [*SECTIONS, *OWN]]


def table(title: str, columns: tuple[str, ...], rows: Iterable[Row], empty: str) -> Section:
    """A section of at most 50 rows."""
    found = list(rows)
    return Section(title, columns, found[:MOST], empty, more=len(found) > MOST)


def _clock() -> Section:
    pulse = Site.objects.values_list("pulse_at", flat=True).first()
    late = pulse is None or (clock.now() - pulse).total_seconds() > 30
    told = "never" if pulse is None else f"{max(0, round((clock.now() - pulse).total_seconds()))} s ago"
    return Section("Pulse", ("Last beat",), [Row((told,), wrong=late)], "")


def _posts(title: str, found: QuerySet[Post], empty: str, *verbs: tuple[str, str]) -> Section:
    shown = found.select_related("organization", "bot")[: MOST + 1]
    rows = [
        Row(
            (
                post.organization,
                post.bot,
                post.text[:80] or "(image)",
                post.get_state_display(),
                since(post.updated_at),
            ),
            wrong=True,
            url=f"/operator/bots/post/{post.pk}/change/",
            pk=post.pk,
            verbs=verbs,
        )
        for post in shown
    ]
    return table(title, ("Organization", "Bot", "Post", "State", "Since"), rows, empty)


def since(moment: Any) -> str:
    """A moment as the page shows it."""
    return f"{moment:%d %b, %H:%M} UTC" if moment else "–"


def _needs_human() -> Section:
    # everyone: the operator looks after the whole installation.
    found = Post.everyone.filter(state=PostState.NEEDS_HUMAN).order_by("sent_at")
    verbs = (("post.send_again", "Send again"), ("post.give_up", "Give up"))
    return _posts("Posts that need a person", found, "The outcome of every post is known.", *verbs)


def _stale_leases() -> Section:
    # everyone: as above.
    found = Post.everyone.filter(state__in=[PostState.LEASED, PostState.SENDING], lease_until__lt=Now())
    return _posts("Posts whose publisher vanished", found.order_by("lease_until"), "No lease ran out.")


def _unknown() -> Section:
    # everyone: as above.
    found = Post.everyone.filter(state=PostState.UNKNOWN).order_by("sent_at")
    return _posts("Posts whose outcome is being looked for", found, "None.")


def _takedowns() -> Section:
    # everyone: as above.
    due = Takedown.everyone.filter(next_attempt_at__isnull=False).select_related("organization").order_by("at")
    verbs = (("takedown.retry", "Try now"), ("takedown.give_up", "Give up"))
    rows = [
        Row(
            (each.organization, each.evidence["text"][:80], each.attempts, each.error, since(each.next_attempt_at)),
            wrong=bool(each.error),
            url=f"/operator/bots/takedown/{each.pk}/change/",
            pk=each.pk,
            verbs=verbs,
        )
        for each in due[: MOST + 1]
    ]
    columns = ("Organization", "Post", "Tries", "What is in the way", "Next try")
    return table("Takedowns under way", columns, rows, "Every takedown is done.")


def _webhooks() -> Section:
    # everyone: as above.
    due = WebhookDelivery.everyone.filter(state=WebhookDelivery.State.PENDING).select_related("organization", "webhook")
    rows = [
        Row((each.organization, each.webhook.url[:60], each.event, each.attempts, since(each.created_at)))
        for each in due.order_by("next_attempt_at")[: MOST + 1]
    ]
    columns = ("Organization", "Webhook", "Event", "Tries", "Since")
    return table("Webhook messages that wait", columns, rows, "None waits.")


def _exports() -> Section:
    # everyone: as above.
    found = Export.everyone.exclude(state=Export.State.READY).select_related("organization").order_by("-created_at")
    rows = [
        Row((each.organization, each.get_state_display(), each.error, since(each.created_at)), wrong=bool(each.error))
        for each in found[: MOST + 1]
    ]
    return table("Exports that are not ready", ("Organization", "State", "Error", "Since"), rows, "None.")


OWN = (_clock, _needs_human, _stale_leases, _unknown, _takedowns, _webhooks, _exports)
