"""Rows for tests. Alice owns Acme and Bob may only look at it; Charlie owns Globex and has no business at Acme.

Functions that make tenant-owned rows want to be called within `tenant(…)`, as the services do.
"""

from __future__ import annotations

import hashlib
import itertools
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.test import Client
from django.utils import timezone

from accounts import audit, clock
from accounts.models import Membership, Organization, User
from accounts.services import create_organization
from accounts.tenancy import tenant
from bots.models import (
    Bot,
    Decision,
    Post,
    PostImage,
    Reward,
    Schedule,
    ScoreObservation,
    Verdict,
)
from bots.services.posts import outgoing, payload_sha256
from bots.states import PostState
from faces.contract import OutgoingPost
from faces.models import Connection
from faces.services import create_connection
from training.models import (
    Canary,
    Dataset,
    Example,
    Generation,
    Metric,
    ModelVersion,
    Round,
    Run,
    RunDataset,
    SampleSet,
)

PASSWORD = "a long enough pass phrase"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c"
    "49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
"""One red pixel."""

_numbers = itertools.count(1)


def make_user(email: str | None = None, **fields: Any) -> User:
    return User.objects.create_user(email or f"person{next(_numbers)}@kilroy.example", PASSWORD, **fields)


def make_organization(name: str = "Acme", owner: User | None = None) -> Organization:
    return create_organization(name, owner or make_user())


def make_member(organization: Organization, role: str, user: User | None = None) -> Membership:
    person = user or make_user()
    with tenant(organization.pk):
        membership: Membership = Membership.objects.create(user=person, role=role)
        audit.record("membership.create", membership, after={"user": person.email, "role": role})
    return membership


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@dataclass
class World:
    acme: Organization
    globex: Organization
    alice: User
    bob: User
    charlie: User


def make_world() -> World:
    """Two organizations: Alice (owner) and Bob (viewer) of Acme, Charlie (owner) of Globex."""
    alice, bob, charlie = (make_user(f"{name}@kilroy.example") for name in ("alice", "bob", "charlie"))
    acme, globex = create_organization("Acme", alice), create_organization("Globex", charlie)
    make_member(acme, "viewer", bob)
    return World(acme, globex, alice, bob, charlie)


def make_connection(kind: str = "sandbox", name: str = "", **fields: Any) -> Connection:
    if kind == "sandbox":
        return create_connection("sandbox", name or f"Connection {next(_numbers)}", fields or None)
    return Connection.objects.create(kind=kind, name=name or f"Connection {next(_numbers)}", **fields)


def make_bot(connection: Connection | None = None, **fields: Any) -> Bot:
    fields.setdefault("name", f"Bot {next(_numbers)}")
    return Bot.objects.create(connection=connection or make_connection(), **fields)


def make_schedule(bot: Bot, **fields: Any) -> Schedule:
    if not {"cron", "timetable", "kind"} & set(fields):
        fields.setdefault("interval_seconds", 3600)
    fields.setdefault("kind", "cron" if "cron" in fields else "timetable" if "timetable" in fields else "interval")
    return Schedule.objects.create(bot=bot, **fields)


_SIGNED = {
    PostState.APPROVED,
    PostState.SCHEDULED,
    PostState.QUEUED,
    PostState.LEASED,
    PostState.SENDING,
    PostState.PUBLISHED,
    PostState.REJECTED,
    PostState.UNKNOWN,
    PostState.NEEDS_HUMAN,
    PostState.DELETED,
}


def make_post(bot: Bot, state: str = PostState.PENDING_REVIEW, text: str = "", **fields: Any) -> Post:
    """A post in any state, with what the database demands of that state."""
    text = text or f"A post about the number {next(_numbers)}"
    sha256 = payload_sha256(OutgoingPost(text, (), fields.get("reply_to", "")))
    now = timezone.now()
    defaults: dict[str, Any] = {
        "payload_sha256": sha256,
        "platform_key": uuid.uuid4().hex,
        "connection": bot.connection,
    }
    if state in _SIGNED:
        defaults |= {"approved_sha256": sha256, "approved_by": "alice@kilroy.example", "approved_at": now}
    if state == PostState.SCHEDULED:
        defaults["slot_utc"] = now + timedelta(hours=1)
    if state in (PostState.LEASED, PostState.SENDING):
        defaults |= {"lease_until": now + timedelta(minutes=1), "fence": 1, "owner": "somebody:1"}
    if state in (PostState.SENDING, PostState.UNKNOWN, PostState.NEEDS_HUMAN):
        defaults |= {"sent_at": now, "attempts": 1}
    if state in (PostState.PUBLISHED, PostState.DELETED):
        defaults |= {"remote_id": f"remote-{next(_numbers)}", "published_at": now}
    return Post.objects.create(bot=bot, state=state, text=text, **defaults | fields)


def make_image(post: Post, alt_text: str = "A red pixel", position: int = 0) -> PostImage:
    """An image of a post; the post's approval, if any, is renewed for it."""
    sha256 = hashlib.sha256(PNG).hexdigest()
    image = PostImage(post=post, position=position, media_type="image/png", sha256=sha256, alt_text=alt_text)
    image.file.save(f"{post.pk}-{position}.png", ContentFile(PNG), save=False)
    image.save()
    post.payload_sha256 = payload_sha256(outgoing(post))
    if post.approved_sha256:
        post.approved_sha256 = post.payload_sha256
    post.save()
    return image


def make_observation(post: Post, number: int = 0, **fields: Any) -> ScoreObservation:
    defaults: dict[str, Any] = {
        "age_seconds": 900,
        "metrics": {"likes": 3},
        "followers": 100,
        "observed_at": timezone.now(),
    }
    return ScoreObservation.objects.create(post=post, number=number, **defaults | fields)


def make_reward(post: Post, observation: ScoreObservation | None = None, value: float = 0.5) -> Reward:
    return Reward.objects.create(
        post=post,
        observation=observation or make_observation(post),
        value=value,
        formula=post.bot.score_formula,
        computed_at=timezone.now(),
    )


def make_verdict(post: Post, rule: str = "blocklist", value: str = "pass", **fields: Any) -> Verdict:
    return Verdict.objects.create(post=post, rule=rule, value=value, **fields)


def make_dataset(bot: Bot, state: str = Dataset.State.READY, examples: int = 0, **fields: Any) -> Dataset:
    """A dataset with that many examples, the texts all different, and no file."""
    defaults: dict[str, Any] = {
        "name": f"Posts {next(_numbers)}",
        "source": "my own account",
        "licence": "my own words",
        "may_learn": True,
        "filename": "posts.csv",
        "example_count": examples,
    }
    dataset = Dataset.objects.create(bot=bot, state=state, **defaults | fields)
    Example.objects.bulk_create(
        Example(
            dataset=dataset,
            position=number,
            text=f"Past post number {number}",
            score=float(number),
            author="somebody",
            community="everything",
            posted_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number),
            source=dataset.source,
            licence=dataset.licence,
            may_learn=dataset.may_learn,
        )
        for number in range(examples)
    )
    return dataset


def make_version(bot: Bot, **fields: Any) -> ModelVersion:
    """A model version whose folder holds nothing: for whatever does not load weights."""
    number = ModelVersion.objects.filter(bot=bot).count() + 1
    defaults: dict[str, Any] = {
        "number": number,
        "kind": "offline",
        "base": "starter",
        "folder": f"models/{bot.pk}/{number}",
        "checksum": "0" * 64,
        "size": 1000,
        "is_current": number == 1,
    }
    return ModelVersion.objects.create(bot=bot, **defaults | fields)


def make_run(bot: Bot, kind: str = Run.Kind.OFFLINE, **fields: Any) -> Run:
    """A run; an offline one learns from `dataset`, or from a new and empty one."""
    dataset = fields.pop("dataset", None)
    if kind == Run.Kind.OFFLINE and dataset is None:
        dataset = make_dataset(bot)
    if kind == Run.Kind.ONLINE and "start_version" not in fields:
        fields["start_version"] = ModelVersion.objects.filter(bot=bot).first() or make_version(bot)
    run = Run.objects.create(bot=bot, kind=kind, **fields)
    if dataset is not None:
        RunDataset.objects.create(run=run, dataset=dataset)
    return run


def make_round(run: Run, number: int = 1, **fields: Any) -> Round:
    return Round.objects.create(run=run, number=number, **{"finished_at": timezone.now()} | fields)


def make_metric(run: Run, name: str = "train_loss", step: int = 1, value: float = 2.5) -> Metric:
    return Metric.objects.create(run=run, name=name, step=step, value=value)


def make_sample_set(run: Run, step: int = 1, texts: list[str] | None = None) -> SampleSet:
    return SampleSet.objects.create(run=run, step=step, texts=texts or ["A text that the model drew"])


def make_generation(bot: Bot, **fields: Any) -> Generation:
    fields.setdefault("version", ModelVersion.objects.filter(bot=bot).first() or make_version(bot))
    return Generation.objects.create(bot=bot, **fields)


def make_decision(post: Post, choice: str = "approved", **fields: Any) -> Decision:
    return Decision.objects.create(
        post=post, choice=choice, **{"text": post.text, "by": "alice@example.org", "at": clock.now(), **fields}
    )


def make_canary(version: ModelVersion, against: ModelVersion, **fields: Any) -> Canary:
    fields = {"share": 0.25, "started_at": clock.now(), **fields}
    return Canary.objects.create(bot=version.bot, version=version, against=against, **fields)
