"""Past posts read on a schedule: whose, how often, what a kill costs, and what may not be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts import clock
from accounts.models import AuditEntry
from bots.models import Bot
from faces import governor
from faces.contract import FaceError, Limit, Parent, RemotePost
from faces.models import Connection
from faces.registry import FACES
from tests.factories import make_bot, make_connection, make_run
from tests.fake_platform import FakePlatform, StubKind, fake_face
from training.models import Dataset, Example, Harvest
from training.services import datasets, harvests, runs

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def remote(number: int, **more: Any) -> RemotePost:
    post = RemotePost(f"id-{number}", f"Words of post {number}", START + timedelta(minutes=number), author="ann")
    return replace(post, **{"metrics": {"likes": number}} | more)


@pytest.fixture
def now() -> Iterator[clock.SimulatedClock]:
    with clock.simulated(START + timedelta(days=1)) as moved:
        yield moved


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, platform: FakePlatform) -> list[tuple[datetime | None, str]]:
    """A face that reads histories; what it was asked for."""
    questions: list[tuple[datetime | None, str]] = []
    face = fake_face(platform, reads=frozenset({"history", "accounts"}))
    read = face.history

    def history(self: Any, since: datetime | None, account: str = "") -> Any:
        questions.append((since, account))
        for post in read(self, since, account):
            if post.text == "THE PLATFORM FAILS":
                raise platform.answers[0]
            yield post

    monkeypatch.setattr(face, "history", history)
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    return questions


@pytest.fixture
def connection(acme: Any, asked: Any) -> Connection:
    return make_connection("fake", "Fake account", account="@kilroy", may_learn=True)


@pytest.fixture
def talker(connection: Connection) -> Bot:
    return make_bot(connection)


def texts(harvest: Harvest) -> list[str]:
    return list(Example.objects.filter(dataset=harvest.dataset).values_list("text", flat=True))


def read(harvest: Harvest) -> Harvest:
    harvests.read_harvest(harvest.pk)
    harvest.refresh_from_db()
    return harvest


def test_posts_come_in_with_all_that_is_known_of_them(
    talker: Bot, platform: FakePlatform, asked: Any, now: clock.SimulatedClock
) -> None:
    platform.posts = [
        remote(1, community="r/tea", parents=(Parent("bob", "Why?"), Parent("cid", "Because."))),
        remote(2, is_repost=True),
        remote(3, metrics={}),
        replace(remote(4), text="  \0 "),
    ]
    harvest = read(harvests.create_harvest(talker, talker.connection))
    first, second = Example.objects.filter(dataset=harvest.dataset)
    assert (first.source_id, first.text, first.author, first.score) == ("id-1", "Words of post 1", "ann", 1.0)
    assert (first.community, first.context, first.posted_at) == ("r/tea", "Why?\nBecause.", remote(1).at)
    assert (first.source, first.may_learn) == ("Fake: @kilroy, read by Kilroy", True)
    assert first.licence == "the terms of Fake allow learning from it"
    assert (second.source_id, second.score, second.position) == ("id-3", None, 1)
    dataset = Dataset.objects.get(pk=harvest.dataset_id)
    assert (dataset.state, dataset.example_count, dataset.may_learn) == ("ready", 2, True)
    assert dataset.columns == {"score": "likes"}
    assert (harvest.since, harvest.last_found, harvest.last_at) == (remote(4).at, 2, now.current)
    assert harvest.next_at == now.current + timedelta(days=1)
    assert AuditEntry.objects.filter(action__startswith="harvest.").count() == 2


def test_a_second_reading_adds_what_is_new_and_brings_scores_up_to_date(
    talker: Bot, platform: FakePlatform, asked: list[Any], now: clock.SimulatedClock
) -> None:
    platform.posts = [remote(1), remote(2)]
    harvest = read(harvests.create_harvest(talker, talker.connection))
    assert harvests.read_harvest(harvest.pk) == 0  # it is not due
    now.advance(timedelta(days=1))
    late = remote(0)  # told of after a newer one
    platform.posts = [late, remote(1), remote(2, metrics={"likes": 99}), remote(3)]
    assert harvests.read_harvest(harvest.pk) == 2
    rows = dict(Example.objects.filter(dataset=harvest.dataset).values_list("source_id", "score"))
    assert rows == {"id-0": 0.0, "id-1": 1.0, "id-2": 99.0, "id-3": 3.0}
    assert [since for since, _ in asked] == [None, START]  # a day before the last reading


def test_a_reader_that_is_killed_goes_on_where_it_stopped_without_a_post_twice(
    talker: Bot, platform: FakePlatform, asked: list[Any], now: clock.SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvests, "BATCH", 2)
    platform.posts = [remote(n) for n in range(7)]
    harvest = harvests.create_harvest(talker, talker.connection)
    keep, calls = harvests._keep, []

    def killed(*arguments: Any) -> int:
        calls.append(arguments)
        if len(calls) == 3:
            raise SystemExit  # not an Exception: nothing tidies up
        return keep(*arguments)

    monkeypatch.setattr(harvests, "_keep", killed)
    with pytest.raises(SystemExit):
        harvests.read_harvest(harvest.pk)
    assert len(texts(harvest)) == 4
    monkeypatch.setattr(harvests, "_keep", keep)
    assert harvests.read_harvest(harvest.pk) == 0  # the dead reader's lease still holds
    now.advance(harvests.LEASE)
    assert harvests.read_harvest(harvest.pk) == 3
    assert texts(harvest) == [f"Words of post {n}" for n in range(7)]
    assert asked[1][0] == remote(3).at


def test_two_readers_at_once_add_nothing_twice(
    talker: Bot, platform: FakePlatform, now: clock.SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvests, "BATCH", 2)
    platform.posts = [remote(n) for n in range(6)]
    harvest = harvests.create_harvest(talker, talker.connection)
    keep, inside, batches = harvests._keep, [], []

    def overtaken(*arguments: Any) -> int:
        added = keep(*arguments)
        batches.append(added)
        if not inside:
            inside.append(1)
            Harvest.objects.filter(pk=harvest.pk).update(next_at=clock.now())  # “read now” was pressed
            inside.append(harvests.read_harvest(harvest.pk))
        return added

    monkeypatch.setattr(harvests, "_keep", overtaken)
    harvests.read_harvest(harvest.pk)
    assert inside == [1, 4]
    assert batches == [2, 1, 2, 1]  # the reader that lost the harvest stops at its next batch
    assert texts(harvest) == [f"Words of post {n}" for n in range(6)]


def test_a_long_history_is_read_in_turns(
    talker: Bot, platform: FakePlatform, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvests, "BATCH", 2)
    monkeypatch.setattr(harvests, "SLICE_SECONDS", 0.0)
    platform.posts = [remote(n) for n in range(3)]
    harvest = read(harvests.create_harvest(talker, talker.connection))
    assert (len(texts(harvest)), harvest.last_at) == (2, None)
    monkeypatch.setattr(harvests, "SLICE_SECONDS", 60.0)
    read(harvest)
    assert len(texts(harvest)) == 3
    assert asked[1][0] == remote(1).at  # no overlap in the middle of a reading


def test_a_history_is_read_as_far_as_the_days_budget_goes_and_goes_on_the_next_day(
    talker: Bot, platform: FakePlatform, asked: list[Any], now: clock.SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvests, "BATCH", 2)
    monkeypatch.setattr(FACES["fake"].load(), "read_price", lambda self, remote_ids: 5_000 * len(remote_ids))
    Connection.objects.update(daily_budget="0.02")
    platform.posts = [remote(n) for n in range(5)]
    harvest = read(harvests.create_harvest(talker, Connection.objects.get(pk=talker.connection_id)))
    assert (len(texts(harvest)), harvest.last_at) == (4, None)
    assert harvest.problem == "This would cost $0.010, and of today's budget $0.000 is left."
    assert harvest.next_at == datetime(2026, 3, 3, tzinfo=UTC)
    assert governor.spent_today(talker.connection) == 20_000
    now.advance(timedelta(days=1))
    assert read(harvest).problem == ""
    assert texts(harvest) == [f"Words of post {n}" for n in range(5)]


def test_the_platforms_limit_of_reading_calls_is_kept(
    talker: Bot, platform: FakePlatform, asked: list[Any], now: clock.SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvests, "BATCH", 2)
    can = replace(FACES["fake"].load().capabilities, limits=(Limit("read", 2, 600),))
    monkeypatch.setattr(FACES["fake"].load(), "capabilities", can)
    platform.posts = [remote(n) for n in range(6)]
    harvest = read(harvests.create_harvest(talker, talker.connection))
    assert (len(texts(harvest)), harvest.problem) == (4, "Fake allows 2 calls in 600 seconds.")
    assert harvest.next_at is not None
    now.advance(harvest.next_at - now.current)
    assert (read(harvest).problem, len(texts(harvest))) == ("", 6)


def test_a_limit_that_the_platform_tells_in_between_costs_nothing_of_what_came_before(
    talker: Bot, platform: FakePlatform, asked: list[Any], now: clock.SimulatedClock
) -> None:
    platform.posts = [remote(1), replace(remote(2), text="THE PLATFORM FAILS")]
    platform.answers = [FaceError("Too many calls.", permanent=False, retry_after=3600.0)]
    harvest = read(harvests.create_harvest(talker, talker.connection))
    assert (texts(harvest), harvest.since) == (["Words of post 1"], remote(1).at)
    assert harvest.next_at == now.current + timedelta(hours=1)
    assert Connection.objects.get(pk=talker.connection_id).read_after == harvest.next_at


def test_several_accounts_are_read_into_datasets_of_their_own(
    talker: Bot, platform: FakePlatform, asked: list[Any]
) -> None:
    platform.posts = [remote(1)]
    made = [harvests.create_harvest(talker, talker.connection, name) for name in ("", "@ann", " @bob ")]
    for harvest in made:
        read(harvest)
    assert [account for _, account in asked] == ["", "@ann", "@bob"]
    assert len({harvest.dataset_id for harvest in made}) == 3
    assert [harvest.dataset.name for harvest in made][1:] == ["Harvest of @ann", "Harvest of @bob"]
    assert [len(texts(harvest)) for harvest in made] == [1, 1, 1]
    with pytest.raises(ValidationError, match="harvested for this bot already"):
        harvests.create_harvest(talker, talker.connection, "@ann")


def test_where_nobody_recorded_that_a_model_may_learn_nothing_is_read(talker: Bot, platform: FakePlatform) -> None:
    Connection.objects.update(may_learn=False)
    talker.connection.refresh_from_db()
    with pytest.raises(ValidationError, match="Nobody has recorded that a model may learn from Fake account"):
        harvests.create_harvest(talker, talker.connection)
    assert AuditEntry.objects.get(action="harvest.refused").after == {"reason": "may_learn is off", "account": ""}
    assert not Dataset.objects.exists()


def test_a_permission_that_is_taken_back_ends_reading_and_learning(
    talker: Bot, platform: FakePlatform, now: clock.SimulatedClock
) -> None:
    platform.posts = [remote(1)]
    harvest = read(harvests.create_harvest(talker, talker.connection))
    Connection.objects.update(may_learn=False)
    with pytest.raises(ValidationError, match="may_learn"):  # also before the harvest has noticed
        runs.start_finetune(talker, Dataset.objects.get())
    assert AuditEntry.objects.filter(action="run.refused").count() == 1
    now.advance(timedelta(days=2))
    platform.posts.append(remote(2))
    assert "Nobody has recorded" in read(harvest).problem
    assert (len(texts(harvest)), Dataset.objects.get().may_learn) == (1, False)
    Connection.objects.update(may_learn=True)
    now.advance(timedelta(days=2))
    assert read(harvest).problem == ""
    assert (len(texts(harvest)), Dataset.objects.get().may_learn) == (2, True)


def test_what_a_platform_cannot_show_is_refused(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(FakePlatform(), reads=frozenset({"history"}))))
    bot = make_bot(make_connection("fake", may_learn=True))
    with pytest.raises(ValidationError, match="Fake does not show Kilroy the posts of others"):
        harvests.create_harvest(bot, bot.connection, "@ann")
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(FakePlatform())))
    with pytest.raises(ValidationError, match="does not show Kilroy an account's past posts"):
        harvests.create_harvest(bot, bot.connection)
    assert AuditEntry.objects.filter(action="harvest.refused").count() == 2


@pytest.mark.parametrize(
    ("error", "waits", "state"),
    [
        (FaceError("Slow down.", permanent=False, retry_after=3600), timedelta(hours=1), "connected"),
        (FaceError("Gone for a moment.", permanent=False), timedelta(minutes=15), "connected"),
        (FaceError("No such account.", permanent=True), timedelta(days=1), "connected"),
        (FaceError("Token revoked.", permanent=True, credentials=True), timedelta(minutes=15), "broken"),
    ],
)
def test_what_the_platform_says_is_noted_and_what_came_before_it_is_kept(
    talker: Bot, platform: FakePlatform, now: clock.SimulatedClock, monkeypatch: pytest.MonkeyPatch,
    error: FaceError, waits: timedelta, state: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(harvests, "BATCH", 1)
    platform.posts, platform.answers = [remote(1), replace(remote(2), text="THE PLATFORM FAILS")], [error]
    harvest = read(harvests.create_harvest(talker, talker.connection))
    assert (harvest.problem, harvest.next_at) == (str(error), now.current + waits)
    assert texts(harvest) == ["Words of post 1"]
    assert Connection.objects.get(pk=talker.connection_id).state == state


def test_what_is_due_is_rung_for_but_not_behind_a_broken_connection(
    talker: Bot, rung: list[Any], now: clock.SimulatedClock, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        harvest = harvests.create_harvest(talker, talker.connection)
    bell = ("training.tasks.read_harvest", str(harvest.organization_id), str(harvest.pk))
    assert rung == [bell]
    with django_capture_on_commit_callbacks(execute=True):
        assert harvests.sweep_harvests() == 1
    assert rung == [bell, bell]
    Connection.objects.update(state="broken")
    assert harvests.sweep_harvests() == 0
    Connection.objects.update(state="connected")
    harvests.change_harvest(harvest.pk, active=False)
    assert harvests.sweep_harvests() == 0


def test_posts_do_not_change_under_a_training_that_learns_from_them(
    talker: Bot, platform: FakePlatform, now: clock.SimulatedClock
) -> None:
    platform.posts = [remote(1)]
    harvest = harvests.create_harvest(talker, talker.connection)
    run = make_run(talker, dataset=harvest.dataset)
    assert "Waits until the fine-tuning" in read(harvest).problem
    assert texts(harvest) == []
    run.state = "finished"
    run.save()
    now.advance(harvests.TROUBLE)
    assert (read(harvest).problem, len(texts(harvest))) == ("", 1)


def test_a_harvest_is_changed_and_removed_and_its_posts_stay(
    talker: Bot, platform: FakePlatform, now: clock.SimulatedClock
) -> None:
    platform.posts = [remote(1)]
    harvest = read(harvests.create_harvest(talker, talker.connection))
    harvests.change_harvest(harvest.pk, every_minutes=60)
    harvest.refresh_from_db()
    assert harvest.next_at == now.current + timedelta(hours=1)
    with pytest.raises(ValidationError, match="between 5 minutes and a year"):
        harvests.change_harvest(harvest.pk, every_minutes=4)
    harvests.harvest_now(harvest.pk)
    assert Harvest.objects.get().next_at == now.current
    harvests.change_harvest(harvest.pk, active=False)
    with pytest.raises(ValidationError, match="switched off"):
        harvests.harvest_now(harvest.pk)
    harvests.remove_harvest(harvest.pk)
    assert not Harvest.objects.exists()
    assert texts(harvest) == ["Words of post 1"]
    datasets.delete_dataset(harvest.dataset_id)


def test_the_sandbox_is_harvested_too(bot: Bot) -> None:
    from faces.contract import OutgoingPost

    bot.connection.face.publish(OutgoingPost("Hello from the sandbox"), "key-1")
    harvest = read(harvests.create_harvest(bot, bot.connection))
    assert texts(harvest) == ["Hello from the sandbox"]
