"""Whatever order faults, deaths, waiting and people come in: no key is on the platform twice, and no post is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import connection as database
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from accounts import clock, site
from accounts.models import Organization
from accounts.tenancy import tenant
from bots import faults
from bots.models import Bot, Post
from bots.services import bots, delivery, needs_human, recovery
from bots.states import IN_FLIGHT, PostState
from faces.contract import Face, FaceError, OutgoingPost, Published
from faces.models import Connection
from faces.registry import FACES
from tests.factories import make_bot, make_connection, make_organization, make_post
from tests.fake_platform import FakePlatform, StubKind, fake_face

KEY_WINDOW = 3600.0
LONGEST_LAG = 5000.0
OUTCOMES = {
    "accepted": None,
    "accepted, then silent": FaceError("no answer", permanent=False, sent=True),
    "accepted, shown late": FaceError("no answer", permanent=False, sent=True),
    "silent, not accepted": FaceError("no answer", permanent=False, sent=True),
    "not reached": FaceError("no such host", permanent=False),
    "slow down": FaceError("slow down", permanent=False, retry_after=600),
    "refused": FaceError("not that word", permanent=True, status=422),
    "credentials refused": FaceError("who are you?", permanent=True, credentials=True, status=401),
}
OUTCOME = st.sampled_from(sorted(OUTCOMES))
POINTS = st.sampled_from(sorted(faults.POINTS))


class Killed(BaseException):
    """A process that sent itself SIGKILL: no handler of ours may stop it."""


@dataclass
class Copy:
    key: str
    text: str
    remote_id: str
    at: float
    shown_at: float


@dataclass
class Platform:
    """Time is in seconds since the machine began. With keys, a repeated one is answered with the first result."""

    keyed: bool
    now: float = 0.0
    outcome: str = "accepted"
    copies: list[Copy] = field(default_factory=list)

    def publish(self, post: OutgoingPost, key: str) -> Published:
        error = OUTCOMES[self.outcome]
        if self.outcome.startswith("accepted"):
            copy = self._remembered(key) or self._store(post, key)
            if error is None:
                return self.shown(copy)
        assert error is not None
        raise error

    def _remembered(self, key: str) -> Copy | None:
        young = [copy for copy in self.copies if copy.key == key and self.now - copy.at < KEY_WINDOW]
        return young[0] if self.keyed and young else None

    def _store(self, post: OutgoingPost, key: str) -> Copy:
        late = LONGEST_LAG if self.outcome == "accepted, shown late" else 0.0
        copy = Copy(key, post.text, f"{key}-{len(self.copies)}", self.now, self.now + late)
        self.copies.append(copy)
        return copy

    def find(self, post: OutgoingPost) -> list[Published]:
        return [self.shown(copy) for copy in self.copies if copy.text == post.text and copy.shown_at <= self.now]

    def shown(self, copy: Copy) -> Published:
        return Published(copy.remote_id, "", clock.now() - timedelta(seconds=self.now - copy.at))

    def of(self, post: Post) -> list[Copy]:
        return [copy for copy in self.copies if copy.key == post.platform_key]


def face_to(platform: Platform) -> type[Face]:
    kind = fake_face(FakePlatform(), idempotency="key" if platform.keyed else "none", key_window=KEY_WINDOW)

    class SteppedFace(kind):  # type: ignore[misc, valid-type]
        def publish(self, post: OutgoingPost, key: str) -> Published:
            return platform.publish(post, key)

        def find(self, key: str, post: OutgoingPost, since: datetime) -> Iterable[Published]:
            return platform.find(post)

    return SteppedFace


class Delivery(RuleBasedStateMachine):
    """Publishers that die anywhere, a platform that answers anything, a janitor, switches and a person."""

    keyed = False
    posts: Bundle[UUID] = Bundle("posts")

    def __init__(self) -> None:
        super().__init__()
        self.platform = Platform(self.keyed)
        self.registered = patch.dict(FACES, {"stepped": StubKind(face_to(self.platform))})
        self.registered.start()
        self.organization: Organization = make_organization()
        with tenant(self.organization.pk):
            self.bot: Bot = make_bot(make_connection("stepped"))

    def teardown(self) -> None:
        try:
            self._everything_settles()
        finally:
            self.registered.stop()

    @rule(target=posts, outcome=OUTCOME)
    def a_post_is_due_and_delivered(self, outcome: str) -> UUID:
        return self._deliver(self._due(), outcome)

    @rule(target=posts, outcome=OUTCOME, point=POINTS)
    def a_post_is_due_and_its_publisher_dies(self, outcome: str, point: str) -> UUID:
        post = self._due()
        with _dying_at(point):
            self._deliver(post, outcome)
        return post

    @rule(post=posts, outcome=OUTCOME)
    def it_is_delivered_again(self, post: UUID, outcome: str) -> None:
        self._deliver(post, outcome)

    @rule(post=posts, outcome=OUTCOME, point=POINTS)
    def its_next_publisher_dies(self, post: UUID, outcome: str, point: str) -> None:
        with _dying_at(point):
            self._deliver(post, outcome)

    def _due(self) -> UUID:
        self.nothing_keeps_the_connection_back()  # or one refusal would keep all later posts from being tried
        with tenant(self.organization.pk):
            return make_post(self.bot, PostState.QUEUED).pk

    def _deliver(self, post: UUID, outcome: str) -> UUID:
        self.platform.outcome = outcome
        with tenant(self.organization.pk):
            delivery.deliver_post(post)
        return post

    @rule(seconds=st.sampled_from([1, 6, 61, 121, 601, 1000, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.platform.now += seconds
        with database.cursor() as cursor:
            cursor.execute(
                "UPDATE bots_post SET lease_until = lease_until - %(by)s, not_before = not_before - %(by)s, "
                "sent_at = sent_at - %(by)s, looked_for_at = looked_for_at - %(by)s",
                {"by": timedelta(seconds=seconds)},
            )
            cursor.execute(
                "UPDATE faces_connection SET publish_after = publish_after - %s", [timedelta(seconds=seconds)]
            )

    @rule()
    def the_janitor_comes(self) -> None:
        recovery.recover_posts()

    @rule(point=POINTS)
    def the_janitor_dies(self, point: str) -> None:
        with _dying_at(point):
            recovery.recover_posts()

    @rule(seconds=st.sampled_from([1, 61]))
    def nothing_is_sent_while_a_switch_is_off(self, seconds: int) -> None:
        before = len(self.platform.copies)
        with tenant(self.organization.pk):
            bots.pause_bot(self.bot)
            self._deliver(self._due(), "accepted")
            bots.resume_bot(self.bot)
            site.pause_site("checking")
            self._deliver(self._due(), "accepted")
            self.time_passes(seconds)
            recovery.recover_posts()
            site.resume_site()
        assert len(self.platform.copies) == before

    @rule()
    def nothing_keeps_the_connection_back(self) -> None:
        Connection.everyone.update(state=Connection.State.CONNECTED, publish_after=None)

    @rule()
    def a_person_looks(self) -> None:
        self.platform.now += LONGEST_LAG  # people take their time
        with tenant(self.organization.pk):
            for post in Post.objects.filter(state=PostState.NEEDS_HUMAN):
                found = self.platform.of(post)
                needs_human.confirm_published(post.pk, found[0].remote_id) if found else needs_human.send_again(post.pk)

    @invariant()
    def no_post_is_there_twice(self) -> None:
        keys = [copy.key for copy in self.platform.copies]
        assert len(keys) == len(set(keys))

    @invariant()
    def what_counts_as_published_is_there_and_what_was_refused_is_not(self) -> None:
        with tenant(self.organization.pk):
            for post in Post.objects.all():
                copies = self.platform.of(post)
                if post.state == PostState.PUBLISHED:
                    assert [copy.remote_id for copy in copies] == [post.remote_id]
                if post.state in (PostState.REJECTED, PostState.CANCELLED):
                    assert not copies

    def _everything_settles(self) -> None:
        """With a platform in order and a person at hand, nothing is left on the way."""
        self.nothing_keeps_the_connection_back()
        self.platform.outcome = "accepted"
        with tenant(self.organization.pk):
            for seconds in (*[130] * 5, *[1000] * 8):  # at first sooner than a platform shows what it took
                self.time_passes(seconds)
                recovery.recover_posts()
                for post in Post.objects.filter(state=PostState.QUEUED):
                    delivery.deliver_post(post.pk)
                self.no_post_is_there_twice()
            self.a_person_looks()
            for post in Post.objects.filter(state=PostState.QUEUED):
                delivery.deliver_post(post.pk)
            states = set(Post.objects.values_list("state", flat=True))
        assert not states & {*IN_FLIGHT, PostState.NEEDS_HUMAN}
        self.no_post_is_there_twice()
        self.what_counts_as_published_is_there_and_what_was_refused_is_not()


@contextmanager
def _dying_at(point: str) -> Iterator[None]:
    """Whoever comes to that point dies there; what was not committed is gone with it."""

    def die(name: str) -> None:
        if name == point:
            raise Killed(point)

    with patch.object(delivery, "point", die), patch.object(recovery, "point", die), suppress(Killed):
        yield


class DeliveryWithKeys(Delivery):
    keyed = True


@pytest.mark.parametrize("machine", [Delivery, DeliveryWithKeys])
def test_never_twice_and_never_lost(machine: type[Delivery], db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def unheard(*args: Any, **options: Any) -> None:
        """No doorbell is heard: the janitor alone must do."""

    monkeypatch.setattr("accounts.doorbell.current_app.send_task", unheard)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
        ),
    )
