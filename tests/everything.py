"""One row of every kind that a page or the API can show, for tests that walk over them all."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.models import (
    ApiToken,
    AuditEntry,
    Export,
    Invitation,
    Membership,
    Notification,
    NotificationChoice,
    Webhook,
    WebhookDelivery,
)
from accounts.roles import Role
from accounts.tokens import create_token
from bots.models import (
    Bot,
    Incoming,
    Post,
    PostImage,
    ReplyCandidate,
    ReplyRules,
    Report,
    Sanction,
    Schedule,
    ScoreObservation,
    Takedown,
)
from bots.states import PostState
from faces.models import Authorization, BilledRead, Connection, Usage
from tests.factories import (
    make_bot,
    make_canary,
    make_dataset,
    make_decision,
    make_generation,
    make_image,
    make_metric,
    make_observation,
    make_post,
    make_reward,
    make_round,
    make_run,
    make_sample_set,
    make_schedule,
    make_user,
    make_verdict,
    make_version,
)
from training.models import (
    Canary,
    Dataset,
    Generation,
    Harvest,
    MetricBucket,
    ModelVersion,
    Retraining,
    Run,
    RunEvent,
    ShareLink,
)


@dataclass
class Everything:
    """One row of every kind that a page or the API can show, all of one bot."""

    connection: Connection
    bot: Bot
    schedule: Schedule
    posts: dict[str, Post]
    image: PostImage
    dataset: Dataset
    run: Run
    online_run: Run
    version: ModelVersion
    generation: Generation
    observation: ScoreObservation
    canary: Canary
    incoming: Incoming
    harvest: Harvest
    webhook: Webhook
    delivery: WebhookDelivery
    member: Membership
    invitation: Invitation
    token: ApiToken
    export: Export
    line: AuditEntry
    sanction: Sanction
    share_link: ShareLink
    notification: Notification

    @property
    def post(self) -> Post:
        return self.posts[PostState.PENDING_REVIEW]


def make_everything() -> Everything:
    """A bot with a post in every state, readings, rewards, verdicts, images, a dataset, runs, versions and texts."""
    bot = make_bot(name="Headline writer", description="Writes headlines.", blocklist=["forbidden"])
    schedule = make_schedule(bot)
    posts = {str(state): make_post(bot, state) for state in PostState.values}
    posts[PostState.SCHEDULED].schedule = schedule
    posts[PostState.SCHEDULED].save()
    posts[PostState.REJECTED].last_error = "The platform said no."
    posts[PostState.REJECTED].save()
    image = make_image(posts[PostState.PENDING_REVIEW])
    make_verdict(posts[PostState.BLOCKED], value="block", reason="It says “forbidden”.")
    published = posts[PostState.PUBLISHED]
    observation = make_observation(published, simulated=True)
    make_reward(published, observation)
    dataset = make_dataset(bot, examples=60)
    run = make_run(bot, dataset=dataset, state="finished", progress={"best_heldout_loss": 3.21})
    version = make_version(bot, run=run, metrics={"heldout_loss": 3.21}, tags=["first"])
    online = make_run(bot, "online", start_version=version, state="running")
    make_version(bot, run=online, parent=version, kind="online")
    for step in range(3):
        make_metric(run, step=step, value=3.0 - step)
        make_metric(online, "lift", step=step, value=float(step))
    make_sample_set(run)
    RunEvent.objects.create(run=run, at=timezone.now(), text="Training began.")
    MetricBucket.objects.create(
        run=run,
        name="loss",
        level=5,
        number=0,
        count=3,
        total=6,
        low=1,
        low_step=2,
        high=3,
        high_step=0,
        last=1,
        last_step=2,
    )
    canary = make_canary(online.versions.get(), version)
    make_decision(posts[PostState.DECLINED], "declined", reason="Too loud.")
    make_round(
        online,
        version=version,
        scored_posts=40,
        seconds=2.0,
        metrics={
            "lift": 0.4,
            "lift_low": 0.1,
            "lift_high": 0.7,
            "learning_posts": 30,
            "baseline_posts": 10,
            "reward_mean": 0.2,
        },
    )
    generation = make_generation(bot, version=version, group=uuid.uuid4())
    incoming, harvest = make_incoming(bot), make_harvest(bot, run)
    make_usage(bot.connection)
    webhook = make_webhook()
    return Everything(
        bot.connection,
        bot,
        schedule,
        posts,
        image,
        dataset,
        run,
        online,
        version,
        generation,
        observation,
        canary,
        incoming,
        harvest,
        webhook,
        webhook.deliveries.get(),
        make_membership(),
        make_invitation(),
        make_token(),
        Export.objects.create(state=Export.State.FAILED, error="The disk was full."),
        AuditEntry.objects.latest("pk"),
        make_sanction(posts[PostState.DELETED]),
        make_share_link(bot),
        make_notification(posts[PostState.NEEDS_HUMAN]),
    )


def make_sanction(post: Post) -> Sanction:
    """A post that was reported and taken down, and a warning for it that its people may appeal against."""
    Report.objects.create(post=post, category=Report.Category.SPAM, text="It is everywhere.", state="upheld")
    takedown = Takedown.objects.create(
        post_id=post.pk, bot_id=post.bot_id, reason="Spam", evidence={"text": post.text}, by="operator"
    )
    return Sanction.objects.create(
        bot=post.bot, takedown=takedown, grade=Sanction.Grade.WARNING, reason="One post was spam.", by="operator"
    )


def make_share_link(bot: Bot) -> ShareLink:
    """A link to show a bot by."""
    return ShareLink.objects.create(
        bot=bot, label="The board", created_by="alice@kilroy.example", created_at=timezone.now()
    )


def make_notification(post: Post) -> Notification:
    """What the first member was told of a post that needs a person, and how they want to be told of the next."""
    member = Membership.objects.earliest("created_at").user
    NotificationChoice.objects.create(user=member, kind="post.needs_human", email="now")
    return Notification.objects.create(
        user=member,
        kind="post.needs_human",
        title="A post needs you",
        path=f"/o/{post.organization.slug}/needs-human/",
        subject=f"post {post.pk}",
        created_at=timezone.now(),
    )


def make_incoming(bot: Bot) -> Incoming:
    """A bot's rules for replies, a mention that it has yet to answer, and one that it answered, with its candidate."""
    now = timezone.now()
    Incoming.objects.create(bot=bot, remote_id="mention-2", text="And you?", at=now, seen_at=now, state="chosen")
    ReplyRules.objects.create(bot=bot)
    answer = make_post(bot, kind=Post.Kind.REPLY, reply_to="mention-1")
    make_post(bot, continues=answer)
    incoming = Incoming.objects.create(
        bot=bot,
        remote_id="mention-1",
        author="ann",
        text="What do you think?",
        at=now,
        seen_at=now,
        state=Incoming.State.ANSWERED,
        answer=answer,
    )
    ReplyCandidate.objects.create(incoming=incoming, position=0, text=answer.text, realism=0.8, score=0.4, chosen=True)
    return incoming


def make_harvest(bot: Bot, run: Run) -> Harvest:
    """A bot's harvest of its own account, and its retraining."""
    Retraining.objects.create(bot=bot, last_run=run)
    dataset = make_dataset(bot, name="Own posts", examples=3)
    return Harvest.objects.create(bot=bot, connection=bot.connection, dataset=dataset)


def make_usage(connection: Connection) -> None:
    """What calls were made for a connection, one billed reading, and a person on the way to connect it anew."""
    now = timezone.now()
    Usage.objects.create(connection=connection, operation="publish", seconds=86400, start=now, calls=3)
    BilledRead.objects.create(connection=connection, day=now.date(), remote_id="1")
    Authorization.objects.create(
        connection=connection, kind=connection.kind, name="Again", user_id=uuid.uuid4(), expires_at=now
    )


def make_membership() -> Membership:
    """One more member, who may look."""
    return Membership.objects.create(user=make_user(), role=Role.VIEWER)


def make_token() -> ApiToken:
    """A token of whoever came first."""
    return create_token(Membership.objects.earliest("created_at"), "A token")[0]


def make_invitation(**fields: Any) -> Invitation:
    """An invitation that nobody has accepted yet."""
    defaults = {"email": "dora@kilroy.example", "role": Role.VIEWER, "invited_by": "alice@kilroy.example"}
    expires = timezone.now() + timedelta(days=7)
    return Invitation.objects.create(**defaults | {"sha256": uuid.uuid4().hex, "expires_at": expires} | fields)


def make_webhook(**fields: Any) -> Webhook:
    """A webhook that nobody listens at, with one message that waits."""
    payload = {"type": "post.published", "timestamp": timezone.now().isoformat(), "data": {}}
    webhook = Webhook.objects.create(**{"url": "https://hooks.example/kilroy", "events": ["post.published"]} | fields)
    WebhookDelivery.objects.create(webhook=webhook, event="post.published", payload=payload)
    return webhook
