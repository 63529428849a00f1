"""Tenancy fails closed: without an organization nothing is read or written, and with one only its own rows are."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django import forms
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, connection, models, transaction
from django.db.models import Exists, OuterRef, Prefetch, Subquery
from rest_framework import serializers

from accounts.models import Membership, Organization
from accounts.tenancy import NoTenant, WrongTenant, activate, active, no_tenant, tenant
from bots.models import Bot, Post, Verdict
from faces.models import Connection
from tests.factories import World, make_bot, make_connection, make_post, make_verdict

AT_IMPORT_TIME = Bot.objects.filter(name__contains="o").exclude(name="")
"""As class attributes of views and serializers hold them: built when no request exists."""


@pytest.fixture
def bots(world: World) -> tuple[Bot, Bot]:
    """Acme's bot and Globex's."""
    with tenant(world.acme.pk):
        mine = make_bot(name="Bot of Acme")
        make_post(mine)
    with tenant(world.globex.pk):
        theirs = make_bot(name="Bot of Globex")
        make_post(theirs)
    return mine, theirs


async def _iterated(queryset: models.QuerySet[Any]) -> list[Any]:
    return [row async for row in queryset]


async def _exists(queryset: models.QuerySet[Any]) -> bool:
    return await queryset.aexists()


def _queries() -> dict[str, Callable[[Bot], Any]]:
    return {
        "list": lambda bot: list(Bot.objects.all()),
        "exists": lambda bot: Bot.objects.exists(),
        "count": lambda bot: Bot.objects.count(),
        "first": lambda bot: Bot.objects.first(),
        "aggregate": lambda bot: Bot.objects.aggregate(n=models.Count("pk")),
        "iterator": lambda bot: list(Bot.objects.iterator()),
        "in_bulk": lambda bot: Bot.objects.in_bulk(),
        "values": lambda bot: list(Bot.objects.values_list("name", flat=True)),
        "union": lambda bot: list(Bot.objects.filter(name="a").union(Bot.objects.filter(name="b"))),
        "get": lambda bot: Bot.objects.get(pk=bot.pk),
        "update": lambda bot: Bot.objects.filter(pk=bot.pk).update(name="x"),
        "delete": lambda bot: Bot.objects.filter(pk=bot.pk).delete(),
        "bulk_create": lambda bot: Bot.objects.bulk_create([Bot(name="x", connection_id=bot.connection_id)]),
        "bulk_update": lambda bot: Bot.objects.bulk_update([bot], ["name"]),
        "create": lambda bot: Bot.objects.create(name="x", connection_id=bot.connection_id),
        "get_or_create": lambda bot: Bot.objects.get_or_create(name="x", defaults={"connection_id": bot.connection_id}),
        "save": lambda bot: bot.save(),
        "delete of a row": lambda bot: bot.delete(),
        "refresh": lambda bot: bot.refresh_from_db(),
        "related manager": lambda bot: list(bot.posts.all()),
        "relation": lambda bot: Bot(connection_id=bot.connection_id).connection,
        "locked": lambda bot: Bot.locked(bot.pk),
        "subquery": lambda bot: list(_organizations_with_bots()),
        "async iteration": lambda bot: async_to_sync(_iterated)(Bot.objects.all()),
        "async exists": lambda bot: async_to_sync(_exists)(Bot.objects.all()),
        "class-level queryset": lambda bot: list(AT_IMPORT_TIME.all()),
        "default manager": lambda bot: list(Bot._default_manager.all()),
        "base manager": lambda bot: list(Bot._base_manager.all()),
    }


def _organizations_with_bots() -> models.QuerySet[Any]:
    return Organization.objects.filter(Exists(Bot.objects.filter(organization=OuterRef("pk"))))


@pytest.mark.parametrize("kind", list(_queries()))
def test_without_an_organization_every_query_raises(bots: tuple[Bot, Bot], kind: str) -> None:
    with pytest.raises(NoTenant):
        _queries()[kind](bots[0])


@pytest.mark.parametrize(
    "kind",
    [
        "list",
        "values",
        "iterator",
        "in_bulk",
        "async iteration",
        "class-level queryset",
        "default manager",
        "base manager",
    ],
)
def test_with_an_organization_only_its_rows_are_found(world: World, bots: tuple[Bot, Bot], kind: str) -> None:
    with tenant(world.acme.pk):
        found = _queries()[kind](bots[0])
    assert found in ([bots[0]], ["Bot of Acme"], {bots[0].pk: bots[0]})


def test_counting_and_existence_are_confined(world: World, bots: tuple[Bot, Bot]) -> None:
    with tenant(world.acme.pk):
        assert Bot.objects.count() == 1
        assert not Bot.objects.filter(pk=bots[1].pk).exists()
        assert list(_organizations_with_bots()) == [world.acme]
        posts = Post.objects.filter(bot=OuterRef("pk")).values("text")[:1]
        everybody = list(Bot.everyone.order_by("name").annotate(text=Subquery(posts)).values_list("name", "text"))
    assert [name for name, text in everybody if text is not None] == ["Bot of Acme"]


def test_prefetching_is_confined(world: World, bots: tuple[Bot, Bot]) -> None:
    with tenant(world.acme.pk):
        everybody = Bot.everyone.order_by("name").prefetch_related(Prefetch("posts", to_attr="found"))
        assert [(bot.name, len(bot.found)) for bot in everybody] == [("Bot of Acme", 1), ("Bot of Globex", 0)]


@pytest.mark.parametrize(
    "touch",
    [
        lambda theirs: Bot.objects.get(pk=theirs.pk),
        lambda theirs: Bot.locked(theirs.pk),
        lambda theirs: theirs.refresh_from_db(),
        lambda theirs: Post(bot_id=theirs.pk).bot,
    ],
    ids=["get", "locked", "refresh", "relation"],
)
def test_another_organizations_row_does_not_exist(
    world: World, bots: tuple[Bot, Bot], touch: Callable[[Bot], Any]
) -> None:
    with tenant(world.acme.pk), pytest.raises(ObjectDoesNotExist):
        touch(bots[1])


def test_updates_and_deletes_do_not_reach_another_organization(world: World, bots: tuple[Bot, Bot]) -> None:
    with tenant(world.acme.pk):
        assert Bot.objects.filter(pk=bots[1].pk).update(name="stolen") == 0
        assert Verdict.objects.filter(post__bot=bots[1]).delete() == (0, {})
        assert Post.objects.filter(bot=bots[1]).delete() == (0, {})
    with tenant(world.globex.pk):
        assert Bot.objects.get().name == "Bot of Globex"
        assert Post.objects.count() == 1


def test_saving_under_another_organizations_key_cannot_overwrite_its_row(world: World, bots: tuple[Bot, Bot]) -> None:
    with tenant(world.acme.pk):
        thief = Bot(pk=bots[1].pk, name="stolen", connection=bots[0].connection, created_at=bots[0].created_at)
        for save in (partial(thief.save, force_update=True), thief.save):
            with pytest.raises(DatabaseError), transaction.atomic():
                save()
    with tenant(world.globex.pk):
        assert Bot.objects.get(pk=bots[1].pk).name == "Bot of Globex"


def test_a_row_of_another_organization_cannot_be_written(world: World, bots: tuple[Bot, Bot]) -> None:
    theirs = bots[1]
    with tenant(world.acme.pk):
        with pytest.raises(WrongTenant):
            theirs.save()
        with pytest.raises(WrongTenant):
            async_to_sync(theirs.asave)()
        with pytest.raises(WrongTenant):
            Bot.objects.bulk_create([Bot(name="x", connection=theirs.connection, organization=world.globex)])
        with pytest.raises(WrongTenant):
            Bot.objects.create(name="x", connection_id=theirs.connection_id, organization=world.globex)


def test_a_new_row_belongs_to_the_active_organization(world: World, bots: tuple[Bot, Bot]) -> None:
    with tenant(world.acme.pk):
        made = Bot.objects.bulk_create([Bot(name="x", connection=bots[0].connection)])
        assert {bot.organization_id for bot in [*made, make_bot()]} == {world.acme.pk}


class VerdictForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Verdict
        fields = ("post", "rule", "value")


class BotChoice(serializers.Serializer):  # type: ignore[type-arg]
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())


def test_a_form_takes_the_own_rows_id_and_refuses_another_organizations(world: World, bots: tuple[Bot, Bot]) -> None:
    with tenant(world.globex.pk):
        theirs = Post.objects.get()
    with tenant(world.acme.pk):
        mine = Post.objects.get()
        assert VerdictForm({"post": mine.pk, "rule": "r", "value": "pass"}).is_valid()
        form = VerdictForm({"post": theirs.pk, "rule": "r", "value": "pass"})
        assert list(form.errors) == ["post"]
        assert str(theirs.pk) not in str(form["post"])


def test_a_serializer_takes_the_own_rows_id_and_refuses_another_organizations(
    world: World, bots: tuple[Bot, Bot]
) -> None:
    with tenant(world.acme.pk):
        assert BotChoice(data={"bot": bots[0].pk}).is_valid()
        refused = BotChoice(data={"bot": bots[1].pk})
        missing = BotChoice(data={"bot": uuid.uuid4()})
        assert not refused.is_valid()
        assert not missing.is_valid()
        assert [error.code for error in refused.errors["bot"]] == [error.code for error in missing.errors["bot"]]


def test_validating_a_foreign_key_does_not_see_another_organization(world: World, bots: tuple[Bot, Bot]) -> None:
    with tenant(world.acme.pk):
        bot = Bot(name="x", connection_id=bots[1].connection_id, organization=world.acme)
        with pytest.raises(forms.ValidationError) as refused:
            bot.clean_fields()
    assert list(refused.value.message_dict) == ["connection"]


def test_tenants_nest_and_end(world: World) -> None:
    with tenant(world.acme.pk):
        with tenant(str(world.globex.pk)):
            assert active() == world.globex.pk
        assert active() == world.acme.pk
        with no_tenant():
            with pytest.raises(NoTenant):
                active()
            activate(world.globex.pk)
            assert active() == world.globex.pk
        assert active() == world.acme.pk
    with pytest.raises(NoTenant):
        active()


def test_a_queryset_follows_the_organization_in_which_it_runs(world: World, bots: tuple[Bot, Bot]) -> None:
    with tenant(world.acme.pk):
        waiting = Bot.objects.all()
    with tenant(world.globex.pk):
        assert list(waiting.all()) == [bots[1]]


def test_the_filter_is_in_the_sql(world: World) -> None:
    with tenant(world.acme.pk):
        assert str(Bot.objects.all().query).count(str(world.acme.pk)) == 1


def test_rows_of_one_organization_cannot_point_into_another_one(world: World, bots: tuple[Bot, Bot]) -> None:
    """The application is bypassed: the database refuses by itself."""
    with tenant(world.globex.pk):
        theirs = make_connection()
    with tenant(world.acme.pk), connection.cursor() as cursor:
        cursor.execute("UPDATE bots_bot SET connection_id = %s WHERE id = %s", [theirs.pk, bots[0].pk])
        with pytest.raises(DatabaseError, match="same_organization"):
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_membership_and_connection_are_tenant_models(world: World) -> None:
    with pytest.raises(NoTenant):
        list(Membership.objects.all())
    with pytest.raises(NoTenant):
        list(Connection.objects.all())
    with tenant(world.acme.pk):
        assert {membership.user for membership in Membership.objects.all()} == {world.alice, world.bob}


def test_verdicts_follow_their_post(world: World, bots: tuple[Bot, Bot]) -> None:
    with tenant(world.acme.pk):
        post = Post.objects.get()
        make_verdict(post)
    with tenant(world.globex.pk):
        assert list(post.verdicts.all()) == []
