"""Canaries: a new version is tried on a share of the learning posts before it takes over.

While a trial runs, rounds train on from the version on trial and the trial goes over to each newer version; all posts
written on trial count together, so that the one which takes over may itself have few scored posts, or none. The
version it is tried against stays current and writes the other posts. A trial that goes wrong is rolled back: what it
learned is not learned from further, and its posts that were not sent yet are withdrawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.urls import reverse

from accounts import audit, clock, notifications
from accounts.tenancy import tenant
from bots import live
from bots.models import Bot, Post
from bots.services.posts import cancel_post
from bots.states import UPCOMING, IllegalTransition, PostState
from training.engine.round_types import ScoredPost
from training.models import Canary, ModelVersion

MARGIN = 0.25
"""Standard units by which a version on trial may be worse and still pass for no worse."""
FEWEST_STOPPED = 3
CHANCE = 0.005
"""How likely as many stopped posts may be, were both versions alike, before a trial is rolled back for them."""

SPEAKERS = ("policy", "stable")

Verdict = tuple[Canary.State, str]
"""How a trial is to end, and the reason in words."""


def running(bot: Bot) -> Canary | None:
    """The bot's trial that is under way, if there is one."""
    trials = Canary.objects.filter(bot=bot, state=Canary.State.RUNNING)
    found: Canary | None = trials.select_related("version", "against").first()
    return found


def hold_speaker(bot_id: UUID | str) -> None:
    """Keep who speaks for a bot as it is until the transaction ends: promotions, trials and roll-backs wait.

    The lock is that of the bot's first version, since a lock of the bot would also hold up its kill switch.
    """
    versions = ModelVersion.objects.filter(bot=bot_id).order_by("number")
    versions.select_for_update(no_key=True, of=("self",)).values_list("pk", flat=True)[:1].first()


@transaction.atomic
def start_trial(version_id: UUID | str, share: float) -> Canary:
    """Try any version of a bot against its current one. Raises ValidationError when it is the current one itself,
    another trial is under way, or the share is not between 0 and 1.
    """
    version = ModelVersion.objects.select_related("bot").get(pk=version_id)
    hold_speaker(version.bot_id)
    if not 0 < share < 1:  # also refuses NaN
        raise ValidationError({"share": "The share must lie between 0 and 1, for example 0.25 for a quarter."})
    current = ModelVersion.objects.filter(bot=version.bot_id, is_current=True).first()
    if current is None or current.pk == version.pk:
        raise ValidationError(f"{version} speaks for all posts already: there is nothing to try it against.")
    if (other := running(version.bot)) is not None:
        raise ValidationError(f"{other.version} is on trial already: end that trial first.")
    return begin(version, current, share)


def begin(version: ModelVersion, against: ModelVersion, share: float) -> Canary:
    """Put a version on trial; the caller holds the speaker."""
    canary: Canary = Canary.objects.create(
        bot=version.bot, version=version, against=against, share=share, started_at=clock.now()
    )
    after = {"version": version.number, "against": against.number, "share": share}
    audit.record("canary.start", canary, after=after)
    _tell(canary)
    return canary


def move_on(canary: Canary, version: ModelVersion) -> None:
    """The trial goes on with a newer version, trained from the one on trial."""
    before, canary.version = canary.version, version
    canary.save(update_fields=["version"])
    audit.record("canary.move_on", canary, before={"version": before.number}, after={"version": version.number})


@transaction.atomic
def end_trial(canary_id: UUID | str) -> Canary:
    """End a trial without a verdict: the current version speaks for all posts again."""
    canary = hold(canary_id)
    return close(canary, Canary.State.ENDED, f"Ended by {audit.actor().label}.")


@transaction.atomic
def roll_back(canary_id: UUID | str, reason: str = "") -> Canary:
    """End a trial against its version, and withdraw its posts that were not sent yet."""
    canary = hold(canary_id)
    return close(canary, Canary.State.ROLLED_BACK, reason or f"Rolled back by {audit.actor().label}.")


def close(canary: Canary, state: Canary.State, reason: str) -> Canary:
    """End a running trial, for the caller that holds the speaker."""
    before = canary.state
    canary.state, canary.reason, canary.ended_at = state, reason[:500], clock.now()
    if state == Canary.State.ROLLED_BACK:
        canary.report = canary.report | {"withdrawn": _withdraw(posts_of(canary, "policy"))}
    canary.save(update_fields=["state", "reason", "report", "ended_at"])
    audit.record(f"canary.{state}", canary, before={"state": before}, after={"state": state, "reason": canary.reason})
    _tell(canary)
    if state == Canary.State.ROLLED_BACK and audit.actor().user is None:  # no person did it: they want to know
        path = reverse("training:models", args=[canary.organization.slug, canary.bot_id])
        title = f"{canary.version} of {canary.bot} was rolled back"
        notifications.tell("canary.rolled_back", title, path, canary.reason, f"canary {canary.pk}")
    return canary


def hold(canary_id: UUID | str) -> Canary:
    """A running trial, with the speaker held. Raises ValidationError when the trial is over."""
    hold_speaker(Canary.objects.values_list("bot", flat=True).get(pk=canary_id))
    canary: Canary = Canary.objects.select_related("version", "against", "bot").get(pk=canary_id)
    if canary.state != Canary.State.RUNNING:
        raise ValidationError(f"This trial is over ({canary.get_state_display().lower()}): start a new one.")
    return canary


def withdraw_all_but(version: ModelVersion) -> int:
    """Withdraw a bot's learning posts that were not sent yet and that another version wrote. Returns how many."""
    learning = Post.objects.filter(bot=version.bot_id, arm=Post.Arm.LEARNING, kind=Post.Kind.NEW)
    return _withdraw(learning.exclude(model_version_id=version.pk))


def _withdraw(posts: QuerySet[Post]) -> int:
    withdrawn = 0
    for post_id in posts.filter(state__in=UPCOMING).values_list("pk", flat=True):
        with suppress(IllegalTransition):  # being sent: too late
            cancel_post(post_id)
            withdrawn += 1
    return withdrawn


def _tell(canary: Canary) -> None:
    message = {"type": "canary", "canary": str(canary.pk), "state": canary.state, "reason": canary.reason}
    live.tell(canary.bot_id, message)


def posts_of(canary: Canary, speaker: str) -> QuerySet[Post]:
    """The posts that the version on trial ("policy") or the one it is tried against ("stable") wrote in the trial."""
    found: QuerySet[Post] = Post.objects.filter(
        bot=canary.bot_id, provenance__canary=str(canary.pk), provenance__speaker=speaker
    )
    return found


def texts_of(canary: Canary) -> tuple[str, ...]:
    """Everything that was written on trial, whatever became of it."""
    return tuple(posts_of(canary, "policy").values_list("text", flat=True))


def marked(scored: Sequence[ScoredPost], canary: Canary) -> tuple[ScoredPost, ...]:
    """Scored posts, those of the trial marked with who wrote them."""
    wrote: dict[str, Any] = {}
    for speaker in SPEAKERS:
        wrote |= {str(pk): speaker for pk in posts_of(canary, speaker).values_list("pk", flat=True)}
    return tuple(replace(post, speaker=wrote.get(post.key, "")) for post in scored)


def posts_owed(canary: Canary, wanted: int) -> int:
    """How many of the `wanted` learning posts the version on trial writes, so that its share of all is what was asked
    for.
    """
    counts = [posts_of(canary, speaker).exclude(state=PostState.CANCELLED).count() for speaker in SPEAKERS]
    owed = round(canary.share * (sum(counts) + wanted) - counts[0])
    return min(wanted, max(0, owed))


def verdict(canary: Canary, report: dict[str, Any], most_posts: int) -> Verdict | None:
    """What a round's report makes of a trial: how it is to end and why, or None while it is open.

    `report["canary"]`: `posts` and `stable_posts`, and once there are both, the `difference` of the mean reward of the
    version on trial less that of the other, in standard units; once they are enough and not all alike, `low` and
    `high`, bounds that hold however often they are looked at. Of the watchdog's readings only those of posts on trial
    speak against the trial.
    """
    readings = [reading for reading in report.get("watchdog", ()) if reading.get("on_trial")]
    if alarms := [reading["sentence"] for reading in readings if reading["level"] == "alarm"]:
        return Canary.State.ROLLED_BACK, f"The watchdog raised an alarm: {' '.join(alarms)}"
    if harm := harm_of(canary):
        return Canary.State.ROLLED_BACK, harm
    return _by_rewards(report.get("canary") or {}, most_posts)


def _by_rewards(found: dict[str, Any], most_posts: int) -> Verdict | None:
    posts, others = found.get("posts", 0), found.get("stable_posts", 0)
    difference, low, high = (found.get(name) for name in ("difference", "low", "high"))
    words = f"{posts} posts" + ("" if difference is None else f" did {difference:+.2f} sd")
    words += f" against {others} of the other"
    if low is not None and high is not None:
        words += f" (95 %: {low:+.2f} to {high:+.2f})"
        if high < 0:
            return Canary.State.ROLLED_BACK, f"Its posts did worse: {words}."
        if low > -MARGIN:
            return Canary.State.PROMOTED, f"Its posts did no worse: {words}."
    if posts < most_posts:
        return None
    if difference is not None and difference <= -MARGIN:
        return Canary.State.ROLLED_BACK, f"The trial is long enough, and its posts did worse: {words}."
    shows = "shows no harm" if round(difference or 0.0, 2) else "no difference was seen"
    return Canary.State.PROMOTED, f"The trial is long enough, and {shows}: {words}."


STOPPED = {
    PostState.BLOCKED: "blocked by moderation",
    PostState.REJECTED: "refused by the platform",
    PostState.DELETED: "taken down by people",  # one that vanished on its platform stays "published"
}


def harm_of(canary: Canary) -> str:
    """Why a trial must not go on, judged by what became of its posts; "" when nothing speaks against it."""
    of = {speaker: _outcomes(canary, speaker) for speaker in SPEAKERS}
    for state, words in STOPPED.items():
        stopped, others_stopped = (of[speaker][state] for speaker in SPEAKERS)
        posts, others = (of[speaker]["posts"] for speaker in SPEAKERS)
        if stopped >= FEWEST_STOPPED and _chance(stopped, posts, others_stopped, others) < CHANCE:
            return f"{stopped} of its {posts} posts were {words}, against {others_stopped} of {others} of the other."
    return ""


def _outcomes(canary: Canary, speaker: str) -> dict[str, int]:
    counts = {str(state): Count("pk", filter=Q(state=state)) for state in STOPPED}
    found: dict[str, int] = posts_of(canary, speaker).aggregate(posts=Count("pk"), **counts)
    return found


def _chance(stopped: int, posts: int, others_stopped: int, others: int) -> float:
    """P(at least `stopped` of the stopped posts fall to this version), were both alike: Fisher's exact test, one-sided.

    With Laplace's one success and one failure more on the other side, so that a version without posts to compare with
    can still be judged.
    """
    others, all_stopped = others + 2, stopped + others_stopped + 1
    ways = math.comb(posts + others, all_stopped)
    most = min(posts, all_stopped)
    return sum(math.comb(posts, k) * math.comb(others, all_stopped - k) for k in range(stopped, most + 1)) / ways


def sweep() -> int:
    """Roll back every trial whose posts moderation, the platform or people stop, without waiting for the next round."""
    rolled_back = 0
    # everyone: beat's sweep looks at the trials of all organizations, then enters each one's tenant.
    for canary in Canary.everyone.filter(state=Canary.State.RUNNING):
        with tenant(canary.organization_id):
            if reason := harm_of(canary):
                with suppress(ValidationError):  # a person was faster
                    roll_back(canary.pk, reason)
                    rolled_back += 1
    return rolled_back
