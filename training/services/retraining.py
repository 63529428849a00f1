"""Training a bot again by itself: when its datasets have grown, a fine-tuning starts, its version is tagged, goes
through the gate (`training.services.gates`) and speaks for the bot.

Every step is a row that a sweep finds: sweeping twice changes nothing, and a kill anywhere costs a sweep.
"""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse

from accounts import audit, clock
from accounts.notifications import tell
from accounts.tenancy import tenant
from bots.models import Bot
from training import configs
from training.models import Dataset, Example, Retraining, Run
from training.services import runs, versions

log = logging.getLogger(__name__)

LOOK_AGAIN = timedelta(minutes=5)
"""When a retraining that is due but has to wait is looked at again."""
TAG = re.compile(r"[A-Za-z0-9._-]{1,36}")
"""What a tag looks like; a version's tag may have 40 characters, and a number may come behind."""
FIELDS = ("active", "every_hours", "least_new_examples", "config", "tag", "most_loss_increase", "make_current")
MOST_HOURS = 8760


@transaction.atomic
def set_retraining(bot: Bot, **fields: Any) -> Retraining:
    """Say when and how a bot is trained again. Raises ValidationError, field by field.

    When it is switched on for the first time, what the bot's version was trained on counts as learned; a bot without a
    version learns from everything.
    """
    if unknown := set(fields) - set(FIELDS):
        raise ValidationError(f"There is no setting “{min(unknown)}”. Known are: {', '.join(FIELDS)}.")
    Bot.locked(bot.pk)
    row = Retraining.objects.filter(bot=bot).first() or Retraining(bot=bot)
    before = {} if row.pk is None else {name: getattr(row, name) for name in fields}
    for name, value in fields.items():
        setattr(row, name, value)
    _check(row)
    if row.active and row.next_at is None:
        row.next_at = clock.now()
        row.learned_examples = learnable_count(bot) if versions.current_version(bot) else 0
    row.save()
    audit.record("retraining.set", row, before=before, after=fields)
    return row


def _check(row: Retraining) -> None:
    row.clean_fields(exclude=["organization", "bot", "last_run"])
    if not 1 <= row.every_hours <= MOST_HOURS:
        raise ValidationError({"every_hours": f"Choose between 1 and {MOST_HOURS} hours."})
    if not 0 <= row.most_loss_increase <= 1:  # also refuses NaN
        raise ValidationError({"most_loss_increase": "Choose a share between 0 and 1; 0.02 allows 2 %."})
    if not TAG.fullmatch(clock.now().strftime(row.tag)):
        raise ValidationError(
            {"tag": "A tag has up to 36 letters, digits, dots, dashes and underscores; %Y, %m, %d and %H are the time."}
        )
    if configs.finetune(row.config).samples_per_evaluation < 1:
        raise ValidationError(
            {"config": "The gate asks what a version has by heart: “samples_per_evaluation” must be at least 1."}
        )


def sources_of(bot: Bot) -> QuerySet[Dataset]:
    """The datasets that a retraining learns from: every one that is imported, and that a model may learn from."""
    ready: QuerySet[Dataset] = Dataset.objects.filter(bot=bot, state=Dataset.State.READY, may_learn=True)
    revoked = Q(harvest__isnull=False, harvest__connection__may_learn=False)
    return ready.exclude(revoked)


def learnable_count(bot: Bot) -> int:
    """How many posts a retraining would learn from now."""
    count: int = Example.objects.filter(dataset__in=sources_of(bot), may_learn=True, quarantined="").count()
    return count


def sweep_retrainings() -> int:
    """Start what is due, and say of trainings that came to nothing why. Returns how many were looked at."""
    over = Q(last_run__kind=Run.Kind.OFFLINE, result="") & ~Q(last_run__state__in=Run.LIVING)
    due = Q(active=True, next_at__lte=clock.now())
    # everyone: beat's sweep finds the work of all organizations, then enters each one's tenant.
    rows = Retraining.everyone.filter(over | due, organization__deletion_requested_at=None)
    found = list(rows.values_list("organization_id", "pk"))
    for organization_id, retraining_id in found:
        with tenant(organization_id):
            try:
                advance(retraining_id)
            except Exception:  # a fault with one bot must not keep the others waiting
                log.exception("retraining %s could not be brought forward", retraining_id)
    return len(found)


@transaction.atomic
def advance(retraining_id: UUID | str | int) -> None:
    """Bring a retraining forward by one step, if there is one to take."""
    row = Retraining.objects.select_for_update(of=("self",)).select_related("bot", "last_run").get(pk=retraining_id)
    if row.result == "" and row.last_run is not None and row.last_run.kind == Run.Kind.OFFLINE:
        if row.last_run.state not in Run.LIVING:
            _settle(row, row.last_run)
        return
    if not row.active or row.next_at is None or row.next_at > clock.now():
        return
    living = Run.objects.filter(bot=row.bot, state__in=Run.LIVING).first()
    made_way = row.last_run if row.last_run and row.last_run.kind == Run.Kind.ONLINE else None
    if living is not None and living == made_way and living.wish == Run.Wish.STOP:
        return  # it ends with its present round
    if made_way is None and not _has_grown(row):
        _look_again(row)
    elif living is not None:
        _make_way(row, living)
    else:
        _start(row, made_way)


def _has_grown(row: Retraining) -> bool:
    count = learnable_count(row.bot)
    if count < row.learned_examples:  # a dataset was deleted: growth counts from what is left
        Retraining.objects.filter(pk=row.pk).update(learned_examples=count)
    return count - row.learned_examples >= row.least_new_examples


def _look_again(row: Retraining, result: str = "") -> None:
    fields = {"result": result} if result else {}
    Retraining.objects.filter(pk=row.pk).update(next_at=clock.now() + LOOK_AGAIN, **fields)


def _make_way(row: Retraining, living: Run) -> None:
    """Only one run of a bot lives at a time: online learning ends for the training and begins anew after it; what a
    person paused, or a training of theirs, is waited for.
    """
    if living.kind == Run.Kind.OFFLINE or living.wish != Run.Wish.RUN or living.state == Run.State.PAUSED:
        what = living.get_kind_display().lower()
        _look_again(row, f"Due, and waits until the {what} ({living.get_state_display().lower()}) is over.")
        return
    runs.stop_run(living.pk)
    Retraining.objects.filter(pk=row.pk).update(last_run=living, result="")
    audit.record("retraining.make_way", row, after={"run": str(living.pk)})


def _start(row: Retraining, made_way: Run | None) -> None:
    goes_on = made_way is not None and made_way.state == Run.State.STOPPED
    then_online = made_way.config if made_way is not None and goes_on else None
    count = learnable_count(row.bot)
    try:
        with transaction.atomic():
            run = runs.start_finetune(
                row.bot, dict.fromkeys(sources_of(row.bot), 1.0), row.config, then_online=then_online
            )
    except ValidationError as error:
        row.last_run = None
        _fail(row, f"The training could not start: {' '.join(error.messages)}", then_online)
        return
    row.last_run, row.learned_examples, row.result = run, count, ""
    row.next_at = clock.now() + timedelta(hours=row.every_hours)
    row.save(update_fields=["last_run", "learned_examples", "result", "next_at"])
    audit.record("retraining.start", row, after={"run": str(run.pk), "examples": count})


def _settle(row: Retraining, run: Run) -> None:
    """Say what came of a training that made no version."""
    if run.state == Run.State.STOPPED:
        row.result = "Somebody stopped the training before there was a version to keep."
        row.save(update_fields=["result"])
        return
    _fail(row, f"The training failed: {run.error or run.get_state_display()}", run.then_online)


def _fail(row: Retraining, result: str, then_online: dict[str, Any] | None) -> None:
    """Note why it came to nothing, tell the owners, take online learning up again with the version that speaks, and try
    again at the next time, whether or not the datasets have grown by then.
    """
    row.result, row.learned_examples = result[:500], 0
    row.next_at = clock.now() + timedelta(hours=row.every_hours)
    row.save(update_fields=["result", "learned_examples", "next_at", "last_run"])
    audit.record("retraining.failed", row, after={"result": row.result})
    path = reverse("training:retraining", args=[row.organization.slug, row.bot_id])
    subject = f"run {row.last_run_id}" if row.last_run_id else f"retraining {row.pk}"
    tell("run.failed", f"Training {row.bot} again came to nothing", path, row.result, subject)
    version = versions.current_version(row.bot)
    if then_online is None or version is None:
        return
    try:
        with transaction.atomic():
            runs.start_online(row.bot, version, then_online)
    except ValidationError as error:
        row.result = f"{row.result} Online learning could not be taken up again: {' '.join(error.messages)}"[:500]
        row.save(update_fields=["result"])
