"""Looking for posts that a bot could answer: read what is new, decide on each, keep a row with the reason."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal

from django.db import transaction
from django.db.models import Q

from accounts import clock, site
from accounts.doorbell import ring
from bots import reply_choice
from bots.languages import language_of
from bots.models import Bot, Incoming, Post, ReplyRules
from bots.reply_choice import Circumstances
from bots.services import replies
from faces import governor
from faces.contract import Capabilities, Face, FaceError, RemotePost
from faces.models import Connection
from faces.services import mark_broken

log = logging.getLogger(__name__)

LOOK = "bots.tasks.look_for_posts"
OVERLAP = timedelta(minutes=10)
"""How far behind the newest post seen a source is read again: platforms list late, and rows are kept once."""
MOST_AT_ONCE = 200
"""New posts taken from one source at one look; the next look goes on from there."""
INBOX = ""
"""The source of mentions and comments; every other source is a community's name."""


def ring_due() -> int:
    """Ring for every bot that is to look for posts now. Returns how many."""
    if site.paused():
        return 0
    # everyone: beat's tick finds the rules of all organizations; who hears the bell enters the tenant.
    due = ReplyRules.everyone.filter(
        Q(next_look_at=None) | Q(next_look_at__lte=clock.now()),
        active=True,
        bot__paused_at=None,
        organization__paused_at=None,
        bot__connection__state=Connection.State.CONNECTED,
    ).values_list("organization_id", "pk")
    for organization_id, rules_id in due:
        ring(LOOK, organization_id, rules_id)
    return len(due)


def look_for_posts(rules_id: int | str) -> int:
    """Read a bot's sources, if it is time, and keep what is new there. Returns how many rows that made. What a platform
    says no to is noted in the rules.
    """
    rules = _claim(rules_id)
    if rules is None:
        return 0
    made, problems = 0, []
    for source in sources(rules, rules.bot.connection.capabilities):
        try:
            made += _look(rules, source)
        except FaceError as error:
            log.warning("bot %s: %s could not be read: %s", rules.bot_id, source or "the inbox", error)
            problems.append(f"{source}: {error}" if source else str(error))
            governor.told_to_wait(rules.bot.connection, "read", error)
            if error.credentials:
                mark_broken(rules.bot.connection, str(error))
                break
    ReplyRules.objects.filter(pk=rules.pk).update(problem=" ".join(problems)[:500])
    return made


def _claim(rules_id: int | str) -> ReplyRules | None:
    """The rules, if they are active and due and nothing holds the bot; the next look is then set."""
    now = clock.now()
    rules: ReplyRules | None = (
        ReplyRules.objects.select_related("bot__connection", "bot__organization").filter(pk=rules_id).first()
    )
    if rules is None or replies.why_held(rules.bot):
        return None
    due = ReplyRules.objects.filter(Q(next_look_at=None) | Q(next_look_at__lte=now), pk=rules.pk, active=True)
    claimed = due.update(next_look_at=now + timedelta(minutes=rules.every_minutes))
    return rules if claimed else None


def sources(rules: ReplyRules, can: Capabilities) -> list[str]:
    """Where this bot looks: its inbox, and communities where platform and permission let it speak unasked."""
    found = [INBOX] if can.reads & {"mentions", "comments"} and (rules.mentions or rules.comments) else []
    if can.replies == "community" and "communities" in can.reads and rules.community_permission.strip():
        found += rules.communities
    return found


def _look(rules: ReplyRules, source: str) -> int:
    bot = rules.bot
    face, now = bot.connection.face, clock.now()
    speed = face.clock_speed()
    since = _since(rules, source, now, speed)
    replies.may_read(bot.connection)
    kept = set(Incoming.objects.filter(bot=bot, at__gte=since).values_list("remote_id", flat=True))
    read: list[str] = []
    found = (post for post in _noted(face.inbox(since, source), read) if post.remote_id not in kept)
    try:
        posts = sorted(islice(found, MOST_AT_ONCE), key=lambda post: post.at)
    finally:
        governor.pay(bot.connection, read)
    ready = [post for post in posts if not reply_choice.too_young(rules, _age(post, now, speed))]
    later = [post.at for post in posts if reply_choice.too_young(rules, _age(post, now, speed))]
    surroundings = _Surroundings(bot, ready)
    decided = [_decide(rules, face, surroundings, post, source, _age(post, now, speed)) for post in ready]
    with transaction.atomic():
        locked = ReplyRules.locked(rules.pk)  # one at a time: two would both see the last place under a cap free
        for choice in decided:
            _keep(locked, bot, choice, source)
        if ready:
            seen = min([ready[-1].at, *later])
            locked.cursors[source] = max(seen, _cursor(locked, source) or seen).isoformat()
            locked.save(update_fields=["cursors"])
    return len(decided)


def _noted(posts: Iterable[RemotePost], read: list[str]) -> Iterator[RemotePost]:
    """The posts; the ids of those that were read come into `read`."""
    for post in posts:
        read.append(post.remote_id)
        yield post


def _since(rules: ReplyRules, source: str, now: datetime, speed: float) -> datetime:
    """What is older would be skipped for its age."""
    oldest = now - timedelta(minutes=rules.oldest_minutes) / speed
    cursor = _cursor(rules, source)
    return max(oldest, cursor - OVERLAP) if cursor else oldest


def _cursor(rules: ReplyRules, source: str) -> datetime | None:
    kept = rules.cursors.get(source)
    return datetime.fromisoformat(kept) if kept else None


def _age(post: RemotePost, now: datetime, speed: float) -> float:
    return (now - post.at).total_seconds() / 60 * speed


class _Surroundings:
    """What our own rows know of some posts: which are ours, which we answered, which thread ours belong to."""

    def __init__(self, bot: Bot, posts: Sequence[RemotePost]) -> None:
        ids = {name for post in posts for name in (post.remote_id, post.reply_to, post.root_id) if name}
        ours = Post.objects.filter(connection=bot.connection_id, remote_id__in=ids)
        self.threads: dict[str, str] = {
            remote_id: root or reply_to or remote_id
            for remote_id, root, reply_to in ours.values_list("remote_id", "answers__root_id", "reply_to")
        }
        answers = Post.objects.filter(connection=bot.connection_id, reply_to__in=ids, state__in=replies.LIVING)
        self.answered = set(answers.values_list("reply_to", flat=True))
        accounts = Connection.objects.filter(kind=bot.connection.kind).exclude(account="")
        self.own = _name(bot.connection.account)
        self.bots = {_name(account) for account in accounts.values_list("account", flat=True)}

    def is_own(self, post: RemotePost) -> bool:
        return post.remote_id in self.threads or (bool(self.own) and _name(post.author) == self.own)

    def root_of(self, post: RemotePost) -> str:
        """The thread's first post; where the platform does not name it, as far up as our own rows lead."""
        return post.root_id or self.threads.get(post.reply_to, post.reply_to) or post.remote_id

    def source_of(self, post: RemotePost, source: str) -> Literal["mention", "comment", "community"]:
        if source and not post.summoned:
            return "community"
        return "comment" if {post.reply_to, post.root_id} & self.threads.keys() else "mention"


def _name(account: str) -> str:
    return account.removeprefix("@").casefold()


@dataclass(frozen=True)
class _Decided:
    post: RemotePost
    root_id: str
    reason: str


def _decide(
    rules: ReplyRules, face: Face, around: _Surroundings, post: RemotePost, source: str, age: float
) -> _Decided:
    """Whether to answer, caps aside. A reply whose thread did not come along is looked up first."""
    known = Circumstances(
        age=age,
        source=around.source_of(post, source),
        community_allowed=bool(source),  # `sources` names no other community
        own=around.is_own(post),
        answered=post.remote_id in around.answered,
        by_bot=post.author_is_bot or _name(post.author) in around.bots,
        language=post.language or language_of(post.text),
        blocklist=tuple(rules.bot.blocklist),
    )
    reason = reply_choice.objection(rules, post, known)
    if not reason and post.reply_to and not post.parents:
        post = _with_thread(rules.bot.connection, face, post)
        reason = reply_choice.objection(rules, post, known)
    return _Decided(post, around.root_of(post), reason)


def _with_thread(connection: Connection, face: Face, post: RemotePost) -> RemotePost:
    replies.may_read(connection, post.remote_id)
    try:
        found = face.look_up(post.remote_id)
    except FaceError as error:
        if error.permanent and not error.credentials:  # this one post cannot be shown: what is known has to do
            return post
        raise
    return replace(post, closed="it was deleted") if found is None else replace(found, summoned=post.summoned)


def _keep(rules: ReplyRules, bot: Bot, decided: _Decided, source: str) -> None:
    post = decided.post
    row = Incoming(
        bot=bot,
        remote_id=post.remote_id,
        root_id=decided.root_id,
        author=post.author[:300],
        text=post.text.replace("\0", ""),
        parents=[[parent.author, parent.text.replace("\0", "")] for parent in post.parents],
        depth=post.depth,
        community=(post.community or source)[:200],
        url=post.url[:500],
        summoned=post.summoned,
        at=post.at,
        seen_at=clock.now(),
    )
    reason = decided.reason or reply_choice.cap_reached(rules, replies.taken(row, replies.PROMISED))
    row.state, row.reason = (Incoming.State.SKIPPED if reason else Incoming.State.CHOSEN), reason[:300]
    if _save_once(row) and row.state == Incoming.State.CHOSEN:
        ring(replies.ANSWER, bot.organization_id, row.pk)


def _save_once(row: Incoming) -> bool:
    """False when the bot has seen this post before: UNIQUE(bot, remote_id)."""
    made: Iterable[Incoming] = Incoming.objects.bulk_create([row], ignore_conflicts=True)
    return bool(made) and Incoming.objects.filter(pk=row.pk).exists()
