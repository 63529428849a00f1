"""Whose turn it is: work waits in one line for each organization, and the lines take turns.

A bell says that there is work; which work is done is decided when it is heard. The organization with the fewest running
jobs comes first, then the one that used the fewest GPU seconds today, then the one that waits longest; whoever was not
served for `PATIENCE` comes before both, so that a long training of yesterday's newcomer starves nobody. Within an
organization, requests that a person waits for come first, unless something else waited for `PATIENCE`; everything else
takes turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from accounts import quotas
from accounts.models import Consumption, Organization
from accounts.plans import QUOTAS
from bots.services import replies
from training.models import Dataset, Generation, Run

PATIENCE = timedelta(seconds=60)
FORGET = timedelta(hours=1)
GPU_SECONDS = "gpu_seconds_per_day"


@dataclass(frozen=True)
class Job:
    """Something for a training worker to do. `line` is what takes turns within the organization: a run, or the requests
    of a bot; `since` when it began to wait; `wanted` False: somebody asked it to pause or stop.
    """

    kind: Literal["run", "generation", "incoming"]
    organization_id: UUID
    pk: UUID
    line: UUID
    since: datetime
    urgent: bool = False
    wanted: bool = True


@dataclass(frozen=True)
class Load:
    """What an organization has of the workers: jobs that run now, GPU seconds of today, and why it gets no more of them
    today ("" while it does).
    """

    running: int = 0
    seconds: float = 0.0
    exhausted: str = ""


class Turns:
    """Who was served when, as one worker remembers it: what is lost with the process costs a turn."""

    def __init__(self) -> None:
        self._served: dict[object, datetime] = {}

    def take(self, job: Job) -> None:
        """Note that a job is being done."""
        now = timezone.now()
        self._served = {who: at for who, at in self._served.items() if now - at < FORGET}
        self._served |= {job.organization_id: now, (job.kind, job.line): now}

    def in_order(self, jobs: Iterable[Job], loads: dict[UUID, Load]) -> list[Job]:
        """The jobs that may be done now, the fairest choice first."""
        lines: dict[UUID, list[Job]] = {}
        for job in jobs:
            if not (job.wanted and loads[job.organization_id].exhausted):
                lines.setdefault(job.organization_id, []).append(job)
        now = timezone.now()
        found: list[Job] = []
        for organization_id in sorted(lines, key=lambda each: self._claim(each, lines[each], loads[each], now)):
            found += sorted(lines[organization_id], key=lambda job: self._place(job, now))
        return found

    def _claim(self, organization_id: UUID, jobs: Sequence[Job], load: Load, now: datetime) -> tuple[object, ...]:
        oldest = min(job.since for job in jobs)
        since = self._served.get(organization_id, oldest)
        if now - since > PATIENCE:
            return (load.running, 0, since.timestamp(), oldest)
        return (load.running, 1, load.seconds, oldest)

    def _place(self, job: Job, now: datetime) -> tuple[object, ...]:
        since = self._served.get((job.kind, job.line), job.since)
        rank = 0 if now - since > PATIENCE else 1 if job.urgent else 2
        return (rank, since, job.since)


def waiting() -> list[Job]:
    """What waits for a training worker for certain, in all organizations. Whether an online run that waits for rewards
    has work is known only to whoever looks: its bell says so.
    """
    runs = free_runs().exclude(kind=Run.Kind.ONLINE, state=Run.State.RUNNING, wish=Run.Wish.RUN)
    # everyone: as in `free_runs`.
    queued = Generation.everyone.filter(
        state=Generation.State.QUEUED, version__isnull=False, organization__deletion_requested_at=None
    )
    firsts = queued.order_by("organization_id", "into_queue", "created_at").distinct("organization_id", "into_queue")
    return [
        *map(run_job, runs),
        *(
            Job("generation", each.organization_id, each.pk, each.bot_id, each.created_at, urgent=not each.into_queue)
            for each in firsts
        ),
        *(
            Job("incoming", each.organization_id, each.pk, each.bot_id, each.seen_at)
            for each in replies.firsts_of_organizations()
        ),
    ]


def free_runs() -> QuerySet[Run]:
    """Living runs of all organizations that no worker has."""
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    living = Q(state__in=[Run.State.QUEUED, Run.State.RUNNING], organization__deletion_requested_at=None)
    # everyone: a worker serves all organizations, and enters the tenant of the one whose turn it is.
    found: QuerySet[Run] = Run.everyone.filter(free & living)
    return found


def run_job(run: Run) -> Job:
    return Job("run", run.organization_id, run.pk, run.pk, run.created_at, wanted=run.wish == Run.Wish.RUN)


def loads_of(organization_ids: Iterable[UUID]) -> dict[UUID, Load]:
    """Organization → what it has of the workers now."""
    ids = set(organization_ids)
    # everyone: what several organizations use is compared, to choose among them.
    leased = Run.everyone.filter(organization__in=ids, lease_until__gt=Now()).order_by().values("organization_id")
    running = dict(leased.annotate(runs=Count("pk")).values_list("organization_id", "runs"))
    # everyone: as above.
    used = Consumption.everyone.filter(organization__in=ids, quota=GPU_SECONDS, day=quotas.today())
    seconds = dict(used.values_list("organization_id", "amount"))
    return {
        organization.pk: Load(
            running.get(organization.pk, 0),
            seconds.get(organization.pk, 0.0),
            _exhausted(organization, seconds.get(organization.pk, 0.0)),
        )
        for organization in Organization.objects.filter(pk__in=ids)
    }


def _exhausted(organization: Organization, seconds: float) -> str:
    limit = quotas.limit_of(organization, GPU_SECONDS)
    if limit is None or seconds < limit:
        return ""
    return " ".join(quotas.QuotaExceeded(QUOTAS[GPU_SECONDS], limit, seconds, 1).messages)


def imports_in_turn() -> list[tuple[UUID, UUID]]:
    """(organization, dataset) of everything that is to be imported: the first of each organization, then the second of
    each, oldest first. One that is being imported keeps its place, and so counts as a running job.
    """
    # everyone: as in `free_runs`.
    importing = Dataset.everyone.filter(state=Dataset.State.IMPORTING, organization__deletion_requested_at=None)
    found = importing.order_by("created_at", "pk")
    before: Counter[UUID] = Counter()
    placed = []
    for organization_id, dataset_id in found.values_list("organization_id", "pk"):
        placed.append((before[organization_id], organization_id, dataset_id))
        before[organization_id] += 1
    return [(organization_id, dataset_id) for _, organization_id, dataset_id in sorted(placed, key=lambda one: one[0])]
