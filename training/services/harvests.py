"""Harvests: an account's past posts, read into a dataset on a schedule. Incremental, resumable, without duplicates."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Max

from accounts import audit, clock
from accounts.doorbell import ring
from accounts.tenancy import tenant
from bots import live
from bots.models import Bot
from bots.services import scores
from faces import governor
from faces.contract import FaceError, RemotePost
from faces.models import Connection
from faces.services import mark_broken
from training.models import Dataset, Example, Harvest, Run

log = logging.getLogger(__name__)

READ = "training.tasks.read_harvest"
BATCH = 100
"""Posts that are stored, and committed, at once: what a kill may cost."""
LEASE = timedelta(minutes=10)
"""How far a reader moves the due time while it reads: one that vanishes delays the next reading by this much."""
SLICE_SECONDS = 60.0
"""After how long a reader lets others have the worker; the next bell goes on where it stopped."""
OVERLAP = timedelta(days=1)
"""How far behind the newest known post a reading begins: servers tell late of some posts, and scores still move."""
TROUBLE = timedelta(minutes=15)
"""How long after a passing trouble it is tried again."""
IN_USE = "Waits until the fine-tuning that learns from it is over: a training's posts must not change under it."
LEAST_MINUTES, MOST_MINUTES = 5, 525_600
COUNTS = ("likes", "score", "reactions", "shares")
"""What counts as a post's score, the first that its platform gives."""


def create_harvest(bot: Bot, connection: Connection, account: str = "", *, every_minutes: int = 1440) -> Harvest:
    """Read an account's posts through a connection, from now on: the connection's own account, or another `account`
    where the platform shows those. They go into a dataset of their own.

    Raises ValidationError when nobody recorded that a model may learn from that connection's platform (audited), the
    platform cannot be read like that, or the account is being harvested already.
    """
    account = account.strip()
    _check(connection, account)
    _check_interval(every_minutes)
    with transaction.atomic():
        dataset = Dataset.objects.create(
            bot=bot,
            name=f"Harvest of {_whose(connection, account)}"[:120],
            source=_source(connection, account),
            licence=_licence(connection),
            may_learn=connection.may_learn,
            state=Dataset.State.READY,
            filename="",
            format="harvest",
            columns={"score": _counted(connection)},
        )
        harvest = Harvest(bot=bot, connection=connection, dataset=dataset, account=account)
        harvest.every_minutes, harvest.next_at = every_minutes, clock.now()
        try:
            with transaction.atomic():
                harvest.save()
        except IntegrityError:
            raise ValidationError(
                {"account": "This account is being harvested for this bot already: change that harvest."}
            ) from None
        audit.record("harvest.create", harvest, after=_facts(harvest) | {"connection": str(connection.pk)})
        ring(READ, harvest.organization_id, harvest.pk)
    return harvest


def _check(connection: Connection, account: str) -> None:
    can = connection.capabilities
    if not connection.may_learn:
        # Outside of any transaction of ours: the refusal must not take its line in the log back with it.
        audit.record("harvest.refused", connection, after={"reason": "may_learn is off", "account": account})
        raise ValidationError(
            {
                "connection": f"Nobody has recorded that a model may learn from {connection} (may_learn). "
                "An admin records the permission with the connection."
            }
        )
    if "\0" in account or len(account) > 300:
        raise ValidationError({"account": "Write the account's name as its platform does, in at most 300 characters."})
    if account and "accounts" not in can.reads:
        audit.record("harvest.refused", connection, after={"reason": "cannot read others", "account": account})
        words = f"{connection.label} does not show Kilroy the posts of others: leave this empty to read its own."
        raise ValidationError({"account": words})
    if not account and "history" not in can.reads:
        audit.record("harvest.refused", connection, after={"reason": "cannot read history"})
        raise ValidationError({"connection": f"{connection.label} does not show Kilroy an account's past posts."})


def _check_interval(minutes: int) -> None:
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise ValidationError({"every_minutes": f"Choose between {LEAST_MINUTES} minutes and a year."})


def _whose(connection: Connection, account: str) -> str:
    return account or connection.account or connection.name


def _source(connection: Connection, account: str) -> str:
    return f"{connection.label}: {_whose(connection, account)}, read by Kilroy"[:300]


def _licence(connection: Connection) -> str:
    return (connection.learn_permission or f"the terms of {connection.label} allow learning from it")[:300]


def _counted(connection: Connection) -> str:
    """The metric that serves as score; "" where the platform gives none."""
    return next((name for name in COUNTS if name in connection.capabilities.metrics), "")


def _facts(harvest: Harvest) -> dict[str, Any]:
    return {"account": harvest.account, "every_minutes": harvest.every_minutes, "active": harvest.active}


@transaction.atomic
def change_harvest(harvest_id: UUID | str, *, every_minutes: int | None = None, active: bool | None = None) -> Harvest:
    """Change how often an account is read, or stop and go on. Raises ValidationError."""
    harvest = Harvest.locked(harvest_id)
    before = _facts(harvest)
    if every_minutes is not None:
        _check_interval(every_minutes)
        harvest.every_minutes = every_minutes
        if harvest.last_at is not None:
            harvest.next_at = harvest.last_at + timedelta(minutes=every_minutes)
    if active is not None:
        harvest.active = active
    harvest.save(update_fields=["every_minutes", "active", "next_at"])
    audit.record("harvest.change", harvest, before=before, after=_facts(harvest))
    return harvest


@transaction.atomic
def harvest_now(harvest_id: UUID | str) -> Harvest:
    """Read an account at once. Raises ValidationError when its harvest is switched off."""
    harvest = Harvest.locked(harvest_id)
    if not harvest.active:
        raise ValidationError("This harvest is switched off: switch it on first.")
    before, harvest.next_at = harvest.next_at, clock.now()
    harvest.save(update_fields=["next_at"])
    audit.record("harvest.now", harvest, before={"next_at": before}, after={"next_at": harvest.next_at})
    ring(READ, harvest.organization_id, harvest.pk)
    return harvest


@transaction.atomic
def remove_harvest(harvest_id: UUID | str) -> None:
    """Read an account no more; what was read stays as a dataset."""
    harvest = Harvest.locked(harvest_id)
    audit.record("harvest.remove", harvest, before=_facts(harvest))
    harvest.delete()


def sweep_harvests() -> int:
    """Ring for every harvest that is due and whose connection works. Returns how many."""
    # everyone: beat's sweep finds what is due in all organizations; the task enters each one's tenant.
    due = Harvest.everyone.filter(
        active=True,
        next_at__lte=clock.now(),
        connection__state=Connection.State.CONNECTED,
        organization__deletion_requested_at=None,
    ).values_list("organization_id", "pk")
    rung = 0
    for organization_id, harvest_id in due[:500]:
        with tenant(organization_id):
            ring(READ, organization_id, harvest_id)
        rung += 1
    return rung


def read_harvest(harvest_id: UUID | str) -> int:
    """Read what is new of an account, batch by batch. Returns how many posts were added.

    Does nothing when it is not due or another reader has it. A kill costs the batch under way: the next reading begins
    at `since`, and a post that is known already is never added again.
    """
    lease = _claim(harvest_id)
    if lease is None:
        return 0
    harvest = Harvest.objects.select_related("connection", "dataset", "bot").get(pk=harvest_id)
    reading = _Reading(harvest, lease)
    try:
        if not harvest.connection.may_learn:
            _refuse(harvest)
            reading.end(timedelta(minutes=harvest.every_minutes), "Nobody has recorded that a model may learn from it.")
            return 0
        if _in_use(harvest.dataset_id):
            reading.end(TROUBLE, IN_USE)
            return 0
        if reading.may_read():
            reading.run(harvest.connection.face.history(_beginning(harvest), harvest.account))
    except FaceError as error:
        _stumble(reading, error)
    except Exception:  # a fault of ours with one account must not be silent, nor end the others' harvests
        log.exception("harvest %s could not be read", harvest.pk)
        reading.end(TROUBLE, "Kilroy stumbled over what the platform answered; it tries again by itself.")
    return reading.added


def _beginning(harvest: Harvest) -> datetime | None:
    """From when on posts are read: with an overlap after a whole reading, exactly where it stopped after a part."""
    if harvest.since is None or harvest.last_at is None:
        return harvest.since
    return min(harvest.since, harvest.last_at - OVERLAP)


def _claim(harvest_id: UUID | str) -> datetime | None:
    """Take a harvest that is due, by moving its due time. None when it is not due, or another reader was faster."""
    now = clock.now()
    taken = Harvest.objects.filter(pk=harvest_id, active=True, next_at__lte=now).update(next_at=now + LEASE)
    return now + LEASE if taken else None


def _refuse(harvest: Harvest) -> None:
    """The permission to learn is gone: say so, and let nothing be trained on what was read with it."""
    with transaction.atomic():
        audit.record("harvest.refused", harvest.connection, after={"reason": "may_learn is off"})
        Dataset.objects.filter(pk=harvest.dataset_id).update(may_learn=False)


def _stumble(reading: _Reading, error: FaceError) -> None:
    harvest = reading.harvest
    governor.told_to_wait(harvest.connection, "read", error)
    if error.credentials:
        mark_broken(harvest.connection, str(error))
    usual = timedelta(minutes=harvest.every_minutes)
    wait = usual if error.permanent and not error.credentials else min(usual, TROUBLE)
    if error.retry_after is not None:
        wait = timedelta(seconds=max(error.retry_after, 1.0))
    log.warning("harvest %s: %s", harvest.pk, error)
    reading.end(wait, str(error) or "The platform could not be read.")


class _Reading:
    """One reader's turn with a harvest. Its lease is the due time that it has set: whoever finds another one there has
    lost the harvest.
    """

    def __init__(self, harvest: Harvest, lease: datetime) -> None:
        self.harvest, self.added = harvest, 0
        self._lease = lease

    def run(self, posts: Iterable[RemotePost]) -> None:
        """Store the posts, oldest first, until they end, the time is up or the lease is lost."""
        ends_at, stream = time.monotonic() + SLICE_SECONDS, iter(posts)
        while batch := self._next(stream):
            if not self._store(batch):
                return
            if len(batch) < BATCH:
                break
            if time.monotonic() >= ends_at:
                if self._book(timedelta(0), last_at=None):
                    ring(READ, self.harvest.organization_id, self.harvest.pk)
                return
            if not self.may_read(last_at=None):
                return
        self._book(timedelta(minutes=self.harvest.every_minutes), last_at=clock.now())

    def may_read(self, **fields: datetime | None) -> bool:
        """Whether the platform's limits and the day's budget leave room for another batch, which is counted then; else
        the turn ends, and goes on when they do.
        """
        connection = self.harvest.connection
        calls = math.ceil(BATCH / connection.capabilities.batch)
        reserve = scores.still_to_publish(connection)
        wait = governor.wait_to_read(connection, BATCH, calls=calls, reserve=reserve)
        if wait is not None:
            self._book(max(wait.until - clock.now(), timedelta(seconds=1)), wait.reason, **fields)
        return wait is None

    def _next(self, stream: Iterator[RemotePost]) -> list[RemotePost]:
        """The next batch, paid for. What came before the platform failed is stored first."""
        batch: list[RemotePost] = []
        try:
            for post in islice(stream, BATCH):
                batch.append(post)
        except FaceError:
            if batch:
                self._store(batch)
            raise
        finally:
            governor.pay(self.harvest.connection, [post.remote_id for post in batch])
        return batch

    def end(self, wait: timedelta, problem: str) -> None:
        """Break off, with words for people, and try again after `wait`."""
        self._book(wait, problem)

    @transaction.atomic
    def _store(self, batch: Sequence[RemotePost]) -> bool:
        """Add what is new, bring scores up to date, note how far we are: all or nothing. False: the lease is lost, or a
        training has begun that learns from the dataset.
        """
        # Positions are given one at a time; a training that starts waits for this lock, too.
        dataset = Dataset.locked(self.harvest.dataset_id)
        if _in_use(dataset.pk):
            self._book(TROUBLE, IN_USE)
            return False
        lease = clock.now() + LEASE
        newest = max(post.at for post in batch)
        since = newest if self.harvest.since is None else max(newest, self.harvest.since)
        held = Harvest.objects.filter(pk=self.harvest.pk, next_at=self._lease, active=True)
        if not held.update(next_at=lease, since=since):
            return False
        self._lease, self.harvest.since = lease, since
        self.added += _keep(self.harvest, dataset, batch)
        return True

    @transaction.atomic
    def _book(self, wait: timedelta, problem: str = "", **fields: datetime | None) -> bool:
        """Say how the turn went and when the next one is due. False: the lease is lost."""
        harvest, problem = self.harvest, problem[:500]
        held = Harvest.objects.filter(pk=harvest.pk, next_at=self._lease)
        if not held.update(next_at=clock.now() + wait, last_found=self.added, problem=problem, **fields):
            return False
        if self.added or problem != harvest.problem:
            audit.record("harvest.read", harvest, after={"found": self.added, "problem": problem})
            news = {"type": "dataset", "dataset": str(harvest.dataset_id), "state": harvest.dataset.state}
            live.tell(harvest.bot_id, news)
        return True


def _in_use(dataset_id: UUID) -> bool:
    """Whether a fine-tuning is under way that learns from the dataset."""
    living = Run.objects.filter(kind=Run.Kind.OFFLINE, state__in=Run.LIVING, sources__dataset=dataset_id)
    return bool(living.exists())


def _keep(harvest: Harvest, dataset: Dataset, batch: Sequence[RemotePost]) -> int:
    """Add the posts that are new to the dataset, and bring the scores of the others up to date. Returns how many."""
    wanted = {post.remote_id[:300]: post for post in batch if post.remote_id and not post.is_repost and _words(post)}
    known = {row.source_id: row for row in Example.objects.filter(dataset=dataset, source_id__in=list(wanted))}
    moved = list(_moved(harvest, wanted, known))
    Example.objects.bulk_update(moved, ["score"])
    last = Example.objects.filter(dataset=dataset).aggregate(last=Max("position"))["last"]
    position = 0 if last is None else last + 1
    fresh = [post for source_id, post in wanted.items() if source_id not in known]
    Example.objects.bulk_create(_example(harvest, post, position + at) for at, post in enumerate(fresh))
    dataset.example_count += len(fresh)
    dataset.may_learn = harvest.connection.may_learn
    dataset.save(update_fields=["example_count", "may_learn"])
    return len(fresh)


def _moved(harvest: Harvest, wanted: dict[str, RemotePost], known: dict[str, Example]) -> Iterator[Example]:
    for source_id, row in known.items():
        score = _score(harvest, wanted[source_id])
        if score is not None and score != row.score:
            row.score = score
            yield row


def _words(post: RemotePost) -> str:
    return post.text.replace("\0", "").strip()


def _score(harvest: Harvest, post: RemotePost) -> float | None:
    """The platform's own count (`Dataset.columns` says which); None where it gave none. Not the bot's formula: another
    account's exposure is unknown, and past scores are put on a scale of their own before anything learns from them.
    """
    value = post.metrics.get(_counted(harvest.connection))
    return None if value is None else float(value)


def _example(harvest: Harvest, post: RemotePost, position: int) -> Example:
    dataset, connection = harvest.dataset, harvest.connection
    return Example(
        dataset=dataset,
        position=position,
        text=_words(post),
        score=_score(harvest, post),
        author=(post.author or _whose(connection, harvest.account)).replace("\0", "")[:200],
        community=post.community.replace("\0", "")[:200],
        context="\n".join(parent.text for parent in post.parents).replace("\0", ""),
        posted_at=post.at,
        source=_source(connection, harvest.account),
        licence=_licence(connection),
        may_learn=connection.may_learn,
        source_id=post.remote_id[:300],
    )
