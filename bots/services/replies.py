"""Answering others: the rules that a person sets, and proposing the best candidate for a post that was chosen.

A chosen post is a row with a lease: the training worker claims it, draws candidates, looks at the post again and hands
them to `propose` (`training/services/replies.py`). Caps are counted under a lock on the bot's rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from accounts import audit, clock, site
from bots import live, reply_choice
from bots.models import Bot, Incoming, Post, ReplyCandidate, ReplyRules
from bots.reply_choice import Candidate, Taken
from bots.services import posts, scores
from bots.states import PostState
from faces import governor
from faces.contract import FaceError, RemotePost
from faces.models import Connection
from faces.services import mark_broken

ANSWER = "training.tasks.gpu_answer_incoming"
LEASE = timedelta(seconds=180)
LATER = timedelta(minutes=5)
MOST_TRIES = 6
"""Claims of one post before the bot gives it up."""
LONGEST_WAIT = 3600.0

NEVER = (PostState.BLOCKED, PostState.DECLINED, PostState.CANCELLED, PostState.REJECTED)
LIVING = [state for state in PostState.values if state not in NEVER]
"""States of an answer that was sent or may still be."""
SENT = Q(answer__state__in=[state for state in LIVING if state not in (PostState.PENDING_REVIEW, PostState.APPROVED)])
"""Answers that were sent, or are on their way."""
PROPOSED = Q(answer__state__in=LIVING)
PROMISED = PROPOSED | Q(state=Incoming.State.CHOSEN)
"""What counts against the caps when a post is chosen: also those that were chosen before it."""
GIVEN_AT = Coalesce("answer__published_at", "answer__approved_at", "answer__created_at", "seen_at")
"""The moment at which an answer counts."""


def rules_of(bot: Bot) -> ReplyRules:
    """The bot's rules; where nobody has set any, the defaults, which are off."""
    found: ReplyRules | None = ReplyRules.objects.filter(bot=bot).first()
    return found or ReplyRules(bot=bot)


@transaction.atomic
def change_rules(bot: Bot, **fields: Any) -> ReplyRules:
    """Change whom a bot answers. Raises ValidationError, saying field by field what is wrong."""
    Bot.locked(bot.pk)
    rules = rules_of(bot)
    before = {name: getattr(rules, name) for name in fields}
    for name, value in fields.items():
        setattr(rules, name, value)
    if fields.get("active") and not before["active"]:
        rules.next_look_at = None
    rules.full_clean(exclude=["organization", "bot"], validate_unique=False, validate_constraints=False)
    _check(rules, bot.connection)
    rules.save()
    audit.record("replies.change", rules, before=before, after=fields)
    return rules


def _check(rules: ReplyRules, connection: Connection) -> None:
    for name in ("communities", "keywords", "languages"):
        value = getattr(rules, name)
        if not isinstance(value, list) or not all(isinstance(word, str) and word.strip() for word in value):
            raise ValidationError({name: "Give a list of words."})
    if rules.youngest_minutes >= rules.oldest_minutes:
        raise ValidationError({"oldest_minutes": "The oldest age must be greater than the youngest."})
    if rules.active:
        check_can_answer(connection)
    if not rules.communities:
        return
    can = connection.capabilities
    if can.replies != "community" or "communities" not in can.reads:
        raise ValidationError(
            {"communities": f"On {connection.label}, bots may answer only who mentions or answers the account."}
        )
    if not rules.community_permission.strip():
        raise ValidationError(
            {
                "community_permission": "Say where these communities allow bots that answer unasked, as a link to "
                "their rules."
            }
        )


def check_can_answer(connection: Connection) -> None:
    """Raises ValidationError where the platform shows nothing that could be answered."""
    can = connection.capabilities
    if not (can.can_reply and can.reads & {"mentions", "comments", "communities"}):
        raise ValidationError({"active": f"Kilroy cannot read what could be answered on {connection.label}."})


def why_held(bot: Bot) -> str:
    """Why this bot does nothing at present, in words; "" when nothing holds it."""
    if bot.paused_at:
        return "The bot is paused."
    if bot.organization.paused_at:
        return "The organization is paused."
    if told := site.paused():
        return told
    if bot.connection.state == Connection.State.BROKEN:
        return f"{bot.connection} must be connected again."
    return ""


def may_read(connection: Connection, *remote_ids: str) -> None:
    """Count one reading call against the connection's limits and budget: of these posts, or of posts that are not known
    yet and are paid for when they are (`governor.pay`). Raises FaceError when it must wait.
    """
    price = governor.reading_price(connection, remote_ids)
    if remote_ids:
        wait = governor.admit(connection, "read", microdollars=price)
    else:
        wait = governor.wait_to_read(connection, 1, reserve=scores.still_to_publish(connection))
    if wait is not None:
        seconds = (wait.until - clock.now()).total_seconds()
        raise FaceError(wait.reason, permanent=False, retry_after=max(seconds, 1.0))
    if price:
        governor.book_reading(connection, remote_ids)


def taken(incoming: Incoming, counted: Q) -> Taken:
    """How many of the bot's other answers, of those that `counted` names, count against the caps for this one."""
    now = clock.now()
    others = Incoming.objects.filter(counted, bot=incoming.bot_id).exclude(pk=incoming.pk).annotate(when=GIVEN_AT)
    return Taken(
        thread=others.filter(root_id=incoming.root_id).count(),
        author=others.filter(author__iexact=incoming.author, when__gt=now - timedelta(hours=24)).count(),
        hour=others.filter(when__gt=now - timedelta(hours=1)).count(),
    )


class Used(NamedTuple):
    """Answers of a bot that were given, or are promised, in the last hour and in the last 24."""

    hour: int
    day: int


def used(bot: Bot) -> Used:
    """How much of its caps the bot has used, counted among what it saw in the last week."""
    now = clock.now()
    recent = Incoming.objects.filter(PROMISED, bot=bot, seen_at__gt=now - timedelta(days=7)).annotate(when=GIVEN_AT)
    found = recent.aggregate(
        hour=Count("pk", filter=Q(when__gt=now - timedelta(hours=1))),
        day=Count("pk", filter=Q(when__gt=now - timedelta(hours=24))),
    )
    return Used(**found)


def claim(incoming_id: UUID | str) -> Incoming | None:
    """Take a chosen post with a new fence and a lease. None when there is nothing to do: somebody has it, it is
    settled, its rules are off, or its bot is held.
    """
    found: Incoming | None = (
        Incoming.objects.select_related("bot__connection", "bot__organization").filter(pk=incoming_id).first()
    )
    if found is None or not rules_of(found.bot).active or why_held(found.bot):
        return None
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    claimed = Incoming.objects.filter(free, pk=incoming_id, state=Incoming.State.CHOSEN).update(
        fence=F("fence") + 1, lease_until=Now() + LEASE
    )
    if not claimed:
        return None
    found.refresh_from_db(fields=["fence", "lease_until", "state"])
    if found.fence > MOST_TRIES:
        give_up(found, f"It broke off {MOST_TRIES} times. {found.reason}")
        return None
    return found


def waiting() -> Iterable[Incoming]:
    """Chosen posts of all organizations that nobody works on, oldest first: what beat rings for."""
    return _waiting().order_by("seen_at")[:50]


def firsts_of_organizations() -> Iterable[Incoming]:
    """Of the chosen posts that nobody works on, the one of each organization that waits longest."""
    return _waiting().order_by("organization_id", "seen_at").distinct("organization_id")


def _waiting() -> QuerySet[Incoming]:
    # everyone: beat's sweep finds the rows of all organizations; who hears the bell enters the tenant.
    everyone: QuerySet[Incoming] = Incoming.everyone.all()
    if site.paused():
        return everyone.none()
    return everyone.filter(
        Q(lease_until=None) | Q(lease_until__lt=Now()),
        state=Incoming.State.CHOSEN,
        bot__reply_rules__active=True,
        bot__paused_at=None,
        organization__paused_at=None,
        bot__connection__state=Connection.State.CONNECTED,
    )


def put_off(incoming_id: UUID | str, reason: str) -> None:
    """Leave a chosen post that nobody works on for later, with the reason."""
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    chosen = Incoming.objects.filter(free, pk=incoming_id, state=Incoming.State.CHOSEN)
    chosen.update(lease_until=Now() + LATER, reason=reason[:300])


def give_up(incoming: Incoming, reason: str) -> bool:
    """Settle a claimed post that gets no answer. False: the lease was lost."""
    return _settle(incoming, Incoming.State.FAILED, reason)


def skip(incoming: Incoming, reason: str) -> bool:
    """Settle a claimed post that is not to be answered after all. False: the lease was lost."""
    return _settle(incoming, Incoming.State.SKIPPED, reason)


def _settle(incoming: Incoming, state: Incoming.State, reason: str, **fields: Any) -> bool:
    mine = Incoming.objects.filter(pk=incoming.pk, fence=incoming.fence, state=Incoming.State.CHOSEN)
    settled = bool(mine.update(state=state, reason=reason[:300], lease_until=None, **fields))
    if settled:
        live.tell(incoming.bot_id, {"type": "reply", "incoming": str(incoming.pk), "state": state})
    return settled


def look_again(incoming: Incoming) -> RemotePost | None:
    """A claimed post as it is now. None when it cannot be answered at present: it is then skipped, or left for later
    where the platform could not be asked.
    """
    connection = incoming.bot.connection
    try:
        may_read(connection, incoming.remote_id)
        found = connection.face.look_up(incoming.remote_id)
    except FaceError as error:
        _could_not_look(incoming, connection, error)
        return None
    if found is None or found.closed:
        skip(incoming, gone(found))
        return None
    return found


def gone(found: RemotePost | None) -> str:
    """Why a post that was looked up cannot be answered, in words."""
    return f"Nobody can answer it any more: {found.closed if found else 'it was deleted'}."


def _could_not_look(incoming: Incoming, connection: Connection, error: FaceError) -> None:
    governor.told_to_wait(connection, "read", error)
    if error.credentials:
        mark_broken(connection, str(error))
    elif error.permanent:
        give_up(incoming, f"The platform refused: {error}")
        return
    wait = min(error.retry_after or 30.0 * 2**incoming.fence, LONGEST_WAIT)
    mine = Incoming.objects.filter(pk=incoming.pk, fence=incoming.fence)
    mine.update(lease_until=Now() + timedelta(seconds=wait), reason=str(error)[:300])


@transaction.atomic
def propose(
    incoming: Incoming,
    candidates: Sequence[Candidate],
    *,
    version_id: UUID,
    provenance: dict[str, Any],
    note: str = "",
) -> Post | None:
    """Keep all candidates, and propose the best that no rule blocks: review or approval is the bot's policy. None when
    there is none, a cap is reached, or the lease was lost. `note` says what the choice could not heed.
    """
    rules = ReplyRules.objects.select_for_update(of=("self",)).get(bot=incoming.bot_id)
    held = Incoming.objects.select_for_update(of=("self",)).filter(
        pk=incoming.pk, fence=incoming.fence, state=Incoming.State.CHOSEN
    )
    if not held.exists():
        return None
    ranked = reply_choice.best_first(candidates)
    post, rows = None, []
    cap = reply_choice.cap_reached(rules, taken(incoming, PROPOSED))
    problem = cap or reply_choice.why_none(ranked, rules.least_realism)
    for position, candidate in enumerate(ranked):
        verdict = candidate.objection or problem
        if not verdict and post is not None:
            verdict = reply_choice.BEATEN
        if not verdict:
            draft = _draft(incoming, candidate, ranked[position + 1 :], version_id, provenance)
            verdict = posts.blocked_by(incoming.bot, draft)
            if not verdict:
                post = posts.propose_posts(incoming.bot, [draft])[0]
        rows.append(
            ReplyCandidate(
                incoming=incoming,
                position=position,
                text=candidate.text.replace("\0", ""),
                realism=candidate.realism,
                score=candidate.score,
                verdict=verdict[:300],
                chosen=post is not None and not verdict,
            )
        )
    ReplyCandidate.objects.bulk_create(rows)
    if post is not None:
        _settle(incoming, Incoming.State.ANSWERED, note, answer=post)
    elif cap:
        skip(incoming, cap)
    else:
        give_up(incoming, problem or "None of the candidates may be sent.")
    return post


def _draft(
    incoming: Incoming,
    candidate: Candidate,
    beaten: Sequence[Candidate],
    version_id: UUID,
    provenance: dict[str, Any],
) -> posts.Draft:
    worse = [[other.text, other.score] for other in beaten if not other.objection and other.score is not None]
    return posts.Draft(
        candidate.text.strip(),
        arm=Post.Arm.LEARNING,
        reply_to=incoming.remote_id,
        model_version_id=version_id,
        provenance={
            **provenance,
            "incoming": str(incoming.pk),
            "realism": candidate.realism,
            "score": candidate.score,
            "shared_run": candidate.shared_run,
            "beaten": worse[:5],
        },
    )
