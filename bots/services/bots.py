"""Creating, changing, pausing and resuming bots and their schedules."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, clock, quotas
from bots import live, sanctioned, schedule_words, scoring, slots
from bots.models import Bot, Post, Schedule
from bots.states import PostState
from faces.models import Connection

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

RULE = (
    "kind",
    "zone",
    "interval_seconds",
    "cron",
    "timetable",
    "misfire",
    "misfire_minutes",
    "jitter_minutes",
    "active",
)
QUIET_HOURS = "Quiet hours need both times: from when, and until when."
LONGEST_READING = 525_600
"""Minutes in a year: the greatest age at which a post's reactions are read."""


@transaction.atomic
def create_bot(name: str, connection: Connection, **fields: Any) -> Bot:
    """Create a bot that speaks through a connection. Raises ValidationError, saying field by field what is wrong, and
    QuotaExceeded.
    """
    bot = Bot(name=name.strip(), connection=connection, **fields)
    _check(bot)
    if Bot.objects.filter(name=bot.name).exists():
        raise ValidationError({"name": f"There is a bot “{bot.name}” already: choose another name."})
    quotas.demand("bots")
    bot.save()
    audit.record("bot.create", bot, after={"name": bot.name, "connection": str(connection.pk), **fields})
    return bot


@transaction.atomic
def change_bot(bot: Bot, **fields: Any) -> Bot:
    """Change a bot's settings. Raises ValidationError."""
    before = {name: getattr(bot, name) for name in fields}
    for name, value in fields.items():
        setattr(bot, name, value)
    _check(bot)
    if Bot.objects.filter(name=bot.name).exclude(pk=bot.pk).exists():
        raise ValidationError({"name": f"There is a bot “{bot.name}” already: choose another name."})
    bot.save(update_fields=list(fields))
    audit.record("bot.change", bot, before=before, after=fields)
    return bot


def _check(bot: Bot) -> None:
    if not bot.name:
        raise ValidationError({"name": "Give the bot a name."})
    bot.clean_fields(exclude=["organization"])
    _check_base_model(bot.base_model)
    check_rules(bot)


def check_rules(bot: Bot) -> None:
    """Refuse a formula, ages or words that cannot be used. Raises ValidationError, saying by field what is wrong."""
    try:
        scoring.check(bot.score_formula, bot.connection.capabilities.metrics)
    except scoring.FormulaError as error:
        raise ValidationError({"score_formula": str(error)}) from None
    ages = bot.reading_ages
    if (
        not isinstance(ages, list)
        or not ages
        or any(type(age) is not int or age < 1 for age in ages)
        or sorted(set(ages)) != ages
        or ages[-1] > LONGEST_READING
    ):
        raise ValidationError(
            {"reading_ages": "Give rising ages in whole minutes, at most a year, like [15, 60, 1440]."}
        )
    if bot.reward_age > ages[-1]:
        raise ValidationError(
            {"reward_age": f"The last reading is at {ages[-1]} minutes: a reward cannot be taken later than that."}
        )
    if not isinstance(bot.blocklist, list) or not all(isinstance(word, str) and word.strip() for word in bot.blocklist):
        raise ValidationError({"blocklist": "Give a list of words or phrases."})


def _check_base_model(name: str) -> None:
    """Refuse what can be no model's name. Whether the hub has it is found out by the training worker, which says so in
    its run.
    """
    if "/" in name and Path(name).is_absolute():
        if not (Path(name) / "config.json").is_file():
            raise ValidationError(
                {"base_model": f"There is no model in the folder {name}: it needs a config.json and safetensors."}
            )
    elif not HUB_NAME.fullmatch(name) or ".." in name:
        raise ValidationError(
            {
                "base_model": f"“{name}” is no model's name. Use “starter”, a name of the hub like gpt2, "
                "or the absolute path of a folder."
            }
        )


@transaction.atomic
def pause_bot(bot: Bot, reason: str = "") -> None:
    """The bot's kill switch: from now on no send begins."""
    before = _paused(bot)
    bot.paused_at, bot.pause_reason = clock.now(), reason.replace("\0", "")[:300]
    bot.save(update_fields=["paused_at", "pause_reason"])
    audit.record("bot.pause", bot, before=before, after=_paused(bot))
    live.tell(bot.pk, {"type": "bot", "paused": True})


@transaction.atomic
def resume_bot(bot: Bot) -> None:
    """Undo a pause. Slots that passed meanwhile count as missed: their posts take later ones. Raises ValidationError
    while the operator suspends the bot.
    """
    sanctioned.demand_no_suspension(bot)
    before = _paused(bot)
    bot.paused_at, bot.pause_reason = None, ""
    bot.save(update_fields=["paused_at", "pause_reason"])
    audit.record("bot.resume", bot, before=before, after=_paused(bot))
    live.tell(bot.pk, {"type": "bot", "paused": False})


def _paused(bot: Bot) -> dict[str, Any]:
    return {"paused_at": bot.paused_at, "reason": bot.pause_reason}


@transaction.atomic
def set_schedule(bot: Bot, schedule: Schedule | None = None, **rule: Any) -> Schedule:
    """Add a schedule to a bot, or change one. Posts that had a slot but are not yet due get new ones. Raises
    ValidationError.
    """
    schedule = schedule or Schedule(bot=bot, created_at=clock.now())
    before = _rule(schedule) if schedule._state.adding is False else {}
    for name, value in rule.items():
        setattr(schedule, name, value)
    _check_rule(schedule)
    schedule.save()
    release_slots(bot)
    audit.record("schedule.set", schedule, before=before, after=_rule(schedule) | {"bot": str(bot.pk)})
    return schedule


class Preview(NamedTuple):
    """The next ten slots of a rule, and the rule in words, "" where the slots say it best."""

    times: list[datetime]
    words: str


def preview_schedule(bot: Bot, schedule: Schedule | None = None, **rule: Any) -> Preview:
    """What a rule that is not kept means; `schedule` is the one that it would change. Raises ValidationError."""
    trial = Schedule(bot=bot, created_at=clock.now())
    if schedule is not None:
        for name in (*RULE, "quiet_from", "quiet_until"):
            setattr(trial, name, getattr(schedule, name))
        trial.pk = schedule.pk  # decides the jitter
    for name, value in rule.items():
        setattr(trial, name, value)
    _check_rule(trial)
    return Preview(slots.upcoming(trial, clock.now(), 10), schedule_words.in_words(trial))


def _check_rule(schedule: Schedule) -> None:
    schedule.clean_fields(exclude=["organization"])
    if (schedule.quiet_from is None) != (schedule.quiet_until is None):
        raise ValidationError({"quiet_until": QUIET_HOURS})
    try:
        slots.check(schedule)
    except slots.ScheduleError as error:
        field = {"interval": "interval_seconds", "cron": "cron", "timetable": "timetable"}[schedule.kind]
        raise ValidationError({field: str(error)}) from None


@transaction.atomic
def remove_schedule(schedule: Schedule) -> None:
    """Remove a schedule; its posts that are not yet due wait for another slot."""
    bot = schedule.bot
    audit.record("schedule.remove", schedule, before=_rule(schedule) | {"bot": str(bot.pk)})
    release_slots(bot)
    schedule.delete()


def release_slots(bot: Bot) -> None:
    """Take back the slots that the bot's schedules gave; their posts wait, approved, for new ones. A moment that a
    person chose stays.
    """
    Post.objects.filter(bot=bot, state=PostState.SCHEDULED, schedule__isnull=False).update(
        state=PostState.APPROVED, slot_utc=None, schedule=None
    )


def _rule(schedule: Schedule) -> dict[str, Any]:
    quiet = {name: str(getattr(schedule, name) or "") for name in ("quiet_from", "quiet_until")}
    return {name: getattr(schedule, name) for name in RULE} | quiet
