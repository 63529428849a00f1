"""Deleting a bot with everything that is its own. What was published stays on its platform, and the audit log says what
there was.

A bot with history is better retired: paused, it keeps its record. So whoever deletes one that has published says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models, transaction

from accounts import audit
from accounts.tenancy import TenantModel
from bots.models import Bot, Post
from bots.states import IN_FLIGHT, UPCOMING, PostState

Obstacle = Callable[[Bot], str]
Leftovers = Callable[[Bot], Callable[[], None]]
OBSTACLES: list[Obstacle] = []
"""What higher rooms hold against deleting a bot, in words; "" for nothing."""
LEFTOVERS: list[Leftovers] = []
"""What higher rooms keep of a bot outside of the database: asked before its rows go, called once they are gone."""
DISCARD = "discard"


@transaction.atomic
def delete_bot(bot: Bot, history: str = "") -> None:
    """Delete a bot, its rows and its files. Raises ValidationError while a post is on its way or something of a higher
    room is under way, and for a bot that has published unless `history` says "discard".
    """
    bot = Bot.locked(bot.pk)  # from here on nothing can be proposed for it
    _refuse_in_flight(bot)
    for obstacle in OBSTACLES:
        if words := obstacle(bot):
            raise ValidationError(words)
    published = Post.objects.filter(bot=bot, published_at__isnull=False).count()
    if published and history != DISCARD:
        raise ValidationError(
            f"{bot} has published {published} posts. Pause it to retire it: that keeps the record. To delete the "
            f"record too, say so: history={DISCARD}. The posts stay on their platform."
        )
    owned = sorted(_owned().items(), key=lambda entry: -entry[1].count("__"))
    files = list(_files(bot, owned))
    clean = [leftover(bot) for leftover in LEFTOVERS]
    removed = {}
    for model, path in owned:  # the deepest first, past Django's cascade, which would read every row
        rows = model._default_manager.filter(**{path: bot})
        if count := rows._raw_delete(rows.db):
            removed[model._meta.model_name] = count
    audit.record("bot.delete", bot, before={"name": bot.name, "published": published, "rows": removed})
    Bot.objects.filter(pk=bot.pk)._raw_delete("default")
    for field, name in files:
        transaction.on_commit(lambda field=field, name=name: field.storage.delete(name), robust=True)  # type: ignore[misc]
    for sweep in clean:
        transaction.on_commit(sweep, robust=True)


def _refuse_in_flight(bot: Bot) -> None:
    """Holds every post that could begin its way, so that none does meanwhile."""
    moving = Post.objects.select_for_update(of=("self",)).filter(bot=bot, state__in=UPCOMING | IN_FLIGHT)
    on_their_way = [state for state in moving.order_by("pk").values_list("state", flat=True) if state in IN_FLIGHT]
    if on_their_way:
        labels = sorted({PostState(state).label.lower() for state in on_their_way})
        raise ValidationError(
            f"{len(on_their_way)} posts of {bot} are on their way ({', '.join(labels)}): pause the bot, and delete it "
            "once they are settled."
        )


def _owned() -> dict[type[models.Model], str]:
    """Every model whose rows belong to a bot, with the shortest way from it to the bot: `run__bot`."""
    ways: dict[type[models.Model], str] = {}
    frontier: dict[type[models.Model], str] = {Bot: ""}
    while frontier:
        reached: dict[type[models.Model], str] = {}
        for model in apps.get_models():
            if issubclass(model, TenantModel) and model is not Bot and model not in ways:
                for field in model._meta.local_concrete_fields:
                    if _belongs_by(field, frontier):
                        beyond = frontier[field.related_model]  # type: ignore[index]
                        reached.setdefault(model, f"{field.name}__{beyond}" if beyond else field.name)
        ways |= reached
        frontier = reached
    return ways


def _belongs_by(field: models.Field, owners: dict[type[models.Model], str]) -> bool:  # type: ignore[type-arg]
    if not isinstance(field, models.ForeignKey) or field.related_model not in owners:
        return False
    return field.remote_field.on_delete is models.CASCADE


def _files(bot: Bot, owned: list[tuple[type[models.Model], str]]) -> Iterator[tuple[models.FileField, str]]:
    """Every stored file of the bot's rows: its field and its name in the field's storage."""
    for model, path in owned:
        for field in model._meta.local_concrete_fields:
            if isinstance(field, models.FileField):
                names = model._default_manager.filter(**{path: bot}).exclude(**{field.name: ""})
                for name in names.values_list(field.name, flat=True):
                    yield field, name
