"""Quotas: what is refused, in which words, and that nobody slips through beside somebody else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction

from accounts import clock, quotas
from accounts.models import AuditEntry, Consumption, Organization
from accounts.plans import PLANS, QUOTAS
from accounts.quotas import QuotaExceeded
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services import bots, delivery, needs_human, posts, recovery
from bots.states import PostState
from faces.contract import OutgoingImage
from tests.factories import PNG, World, make_bot, make_connection, make_dataset, make_post, make_version, make_world
from training.models import Dataset
from training.services import datasets, generations

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)


@pytest.fixture
def acme(world: World) -> Iterator[Organization]:
    with tenant(world.acme.pk):
        yield world.acme


def give(organization: Organization, **limits: float | None) -> None:
    """Set single quotas of an organization."""
    Organization.objects.filter(pk=organization.pk).update(quotas=limits)


# Limits


def test_every_plan_names_quotas_that_exist() -> None:
    assert {name for plan in PLANS.values() for name in plan.limits} <= set(QUOTAS)
    assert PLANS["open"].limits == {}


def test_a_quota_is_the_plans_unless_the_organization_has_its_own() -> None:
    organization = Organization(plan="small", quotas={"bots": 7, "stored_bytes": None})
    found = {name: quotas.limit_of(organization, name) for name in ("bots", "stored_bytes", "posts_per_day")}
    assert found == {"bots": 7, "stored_bytes": None, "posts_per_day": 100}
    assert quotas.limit_of(Organization(), "bots") is None
    with pytest.raises(KeyError):
        quotas.limit_of(organization, "bot")


def test_an_operators_choice_is_checked_and_on_record(acme: Organization) -> None:
    for plan, own in (("huge", {}), ("small", {"bot": 1}), ("small", {"bots": -1}), ("small", {"bots": "3"})):
        with pytest.raises(ValidationError):
            quotas.set_plan(acme, plan, own)
    quotas.set_plan(acme, "small", {"bots": 5, "stored_bytes": None})
    quotas.set_plan(acme, "small", {"bots": 5, "stored_bytes": None})
    line = AuditEntry.objects.get(action="organization.plan")
    assert line.before == {"plan": "open", "quotas": {}}
    assert line.after == {"plan": "small", "quotas": {"bots": 5, "stored_bytes": None}}
    acme.refresh_from_db()
    assert (acme.plan, acme.quotas) == ("small", {"bots": 5, "stored_bytes": None})


# Counting


def test_daily_quotas_begin_anew_at_midnight_utc(acme: Organization) -> None:
    give(acme, candidates_per_day=10)
    with clock.simulated(NOON) as time:
        quotas.consume("candidates_per_day", 4)
        quotas.consume("candidates_per_day", 6)
        with pytest.raises(QuotaExceeded) as refused:
            quotas.consume("candidates_per_day")
        assert (refused.value.limit, refused.value.used, quotas.used("candidates_per_day")) == (10, 10, 10)
        assert refused.value.frees_at == datetime(2026, 3, 6, tzinfo=UTC)
        assert " ".join(refused.value.messages) == (
            "The organization's quota is used up. Candidates drawn per day: 10 of 10 are used. "
            "It is free again on 06 March 00:00 UTC."
        )
        time.advance(timedelta(hours=12))
        quotas.consume("candidates_per_day", 10)
        series = quotas.series()["candidates_per_day"]
    assert [amount for _, amount in series] == [0] * 28 + [10, 10]
    assert series[-1][0].isoformat() == "2026-03-06"


def test_more_than_is_left_uses_nothing(acme: Organization) -> None:
    give(acme, candidates_per_day=10)
    for amount in (11, 8, 3):
        try:
            quotas.consume("candidates_per_day", amount)
        except QuotaExceeded:
            assert amount in (11, 3)
    assert quotas.used("candidates_per_day") == 8
    quotas.charge("candidates_per_day", 5)
    quotas.give_back("candidates_per_day", 1)
    assert quotas.used("candidates_per_day") == 12


def test_what_is_given_back_was_used(acme: Organization) -> None:
    quotas.consume("posts_per_day")
    for _ in range(3):
        quotas.give_back("posts_per_day")
    assert quotas.used("posts_per_day") == 0


def test_organizations_count_for_themselves(world: World) -> None:
    give(world.acme, bots=1, candidates_per_day=1)
    with tenant(world.globex.pk):
        make_bot()
        make_version(make_bot())
        quotas.consume("candidates_per_day")
    with tenant(world.acme.pk):
        assert [(usage.quota.name, usage.used) for usage in quotas.usage()] == [(name, 0) for name in QUOTAS]
        quotas.consume("candidates_per_day")
        bots.create_bot("The one", make_connection())


def test_storage_counts_datasets_versions_and_images(acme: Organization) -> None:
    bot = make_bot()
    make_dataset(bot, size=1000)
    make_version(bot, size=200)
    post = make_post(bot)
    post.images.create(position=0, media_type="image/png", sha256="0" * 64, alt_text="x", size=30)
    assert quotas.used("stored_bytes") == 1230


# Where things are made


def test_a_bot_too_many_is_refused_and_says_what_to_do(acme: Organization) -> None:
    give(acme, bots=2)
    for name in ("One", "Two"):
        bots.create_bot(name, make_connection())
    with pytest.raises(QuotaExceeded) as refused:
        bots.create_bot("Three", make_connection())
    assert " ".join(refused.value.messages) == (
        "The organization's quota is used up. Bots: 2 of 2 are used. Delete a bot that is no longer needed, or ask the "
        "operator of this installation for more."
    )
    assert (refused.value.frees_at, Bot.objects.count()) == (None, 2)


def test_a_file_that_does_not_fit_is_not_kept(acme: Organization, settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path
    give(acme, stored_bytes=100)
    bot = make_bot()

    def upload(length: int) -> Dataset:
        file = SimpleUploadedFile("posts.txt", b"Some words.\n" + b"x" * (length - 12))
        facts: dict[str, Any] = {"source": "mine", "licence": "mine", "may_learn": True}
        return datasets.upload_dataset(bot, file, name="Posts", **facts)

    assert upload(60).size == 60
    with pytest.raises(QuotaExceeded, match="60 bytes of 100 bytes are used, and this needs 50 bytes"):
        upload(50)
    assert (Dataset.objects.count(), len([path for path in tmp_path.rglob("*") if path.is_file()])) == (1, 1)
    upload(40)


def test_images_of_posts_are_stored_bytes(acme: Organization, settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path
    give(acme, stored_bytes=len(PNG))
    bot = make_bot()
    draft = posts.Draft("Look", images=(OutgoingImage(PNG, "image/png", "A pixel"),))
    (post,) = posts.propose_posts(bot, [draft])
    assert post.images.get().size == len(PNG)
    with pytest.raises(QuotaExceeded):
        posts.propose_posts(bot, [posts.Draft("Look again", images=draft.images)])
    posts.propose_posts(bot, [posts.Draft("Words only")])


def test_candidates_are_counted_when_they_are_asked_for(acme: Organization) -> None:
    give(acme, candidates_per_day=5)
    bot = make_bot()
    make_version(bot)
    generations.request_generation(bot, count=4)
    with pytest.raises(QuotaExceeded):
        generations.request_generation(bot, count=2)
    generations.request_generation(bot, count=1)
    assert quotas.used("candidates_per_day") == 5
    give(acme, gpu_seconds_per_day=0)
    with pytest.raises(QuotaExceeded, match="GPU seconds"):
        generations.request_generation(bot)


# Publishing


def due(bot: Bot) -> Post:
    return make_post(bot, PostState.QUEUED)


def reread(post: Post) -> Post:
    return Post.objects.get(pk=post.pk)


def test_a_post_over_the_days_quota_waits_and_says_why(acme: Organization) -> None:
    give(acme, posts_per_day=1)
    bot = make_bot()
    first, second = due(bot), due(bot)
    with clock.simulated(NOON):
        assert delivery.deliver_post(first.pk) == "published"
        assert delivery.deliver_post(second.pk) == "queued"
        waiting = reread(second)
        assert waiting.last_error.endswith("Posts per day: 1 of 1 are used. It is free again on 06 March 00:00 UTC.")
        assert waiting.not_before == NOON + delivery.QUOTA_LOOK
        assert quotas.used("posts_per_day") == 1
        Post.objects.update(not_before=None)
    with clock.simulated(NOON + timedelta(days=1)):
        assert delivery.deliver_post(second.pk) == "published"
        assert quotas.used("posts_per_day") == 1


def test_a_post_that_never_went_out_does_not_count(acme: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    from faces.contract import FaceError
    from faces.kinds.sandbox.face import SandboxFace

    def refuse(sent: bool) -> Callable[..., Any]:
        def publish(*args: Any) -> Any:
            raise FaceError("no", permanent=True, sent=sent)

        return publish

    bot = make_bot()
    monkeypatch.setattr(SandboxFace, "publish_some", refuse(sent=False))
    assert delivery.deliver_post(due(bot).pk) == "rejected"
    assert quotas.used("posts_per_day") == 0
    monkeypatch.setattr(SandboxFace, "publish_some", refuse(sent=True))
    unknown = due(bot)
    assert delivery.deliver_post(unknown.pk) == "unknown"
    assert quotas.used("posts_per_day") == 1
    post = reread(unknown)
    assert delivery.settle(post, PostState.UNKNOWN, PostState.NEEDS_HUMAN)
    needs_human.send_again(post.pk)
    assert quotas.used("posts_per_day") == 0


def test_a_publisher_that_dies_before_the_intent_counts_nothing(acme: Organization) -> None:
    post = make_post(make_bot(), PostState.LEASED)
    Post.objects.update(lease_until=NOON)
    recovery.recover_posts()
    assert (reread(post).state, quotas.used("posts_per_day")) == ("queued", 0)


# Side by side


@pytest.fixture
def committed(transactional_db: None) -> World:
    return make_world()


def at_once(world: World, verbs: list[Callable[[], Any]]) -> list[str]:
    """Run verbs in threads of their own, all begun together; what became of each."""
    outcomes: list[str] = []
    gate = threading.Barrier(len(verbs))

    def run(verb: Callable[[], Any]) -> None:
        try:
            with tenant(world.acme.pk):
                gate.wait()
                verb()
            outcomes.append("done")
        except QuotaExceeded:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[verb]) for verb in verbs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


def test_many_at_once_get_what_there_is_and_no_more(committed: World) -> None:
    give(committed.acme, bots=3, candidates_per_day=3)
    with tenant(committed.acme.pk):
        connections = [make_connection() for _ in range(6)]
    makers = [lambda each=each: bots.create_bot(f"Bot of {each}", each) for each in connections]  # type: ignore[misc]
    assert at_once(committed, makers) == ["done"] * 3 + ["refused"] * 3
    assert at_once(committed, [lambda: quotas.consume("candidates_per_day")] * 6) == ["done"] * 3 + ["refused"] * 3
    with tenant(committed.acme.pk):
        assert (Bot.objects.count(), Consumption.objects.get().amount) == (3, 3)


def test_room_is_asked_for_where_it_can_be_kept(transactional_db: None) -> None:
    world = make_world()
    give(world.acme, bots=1)
    with tenant(world.acme.pk), pytest.raises(transaction.TransactionManagementError):
        quotas.demand("bots")
