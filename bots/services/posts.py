"""From a text to an approved post: proposing, editing, approving, declining, cancelling."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import transaction

from accounts import audit, clock, quotas
from bots import events, live, toxicity
from bots.models import Bot, Decision, Post, PostImage, Verdict
from bots.moderation import RuleContext, moderate
from bots.moderation.earlier import EarlierTexts
from bots.sanctioned import BY_POLICY, demands_review
from bots.services import site_rules
from bots.states import EDITABLE, UPCOMING, IllegalTransition, PostState, check
from faces.contract import OutgoingImage, OutgoingPost
from faces.keys import new_key

MEDIA_TYPES = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}
LARGEST_IMAGE = 20_000_000
TOO_LARGE = f"An image has at most {LARGEST_IMAGE / 1e6:g} MB: make it smaller."


@dataclass(frozen=True)
class Draft:
    """A post to propose, with where it came from. `continues` is the part of a thread that it follows."""

    text: str
    arm: str = Post.Arm.HUMAN
    images: tuple[OutgoingImage, ...] = ()
    reply_to: str = ""
    continues: Post | None = None
    model_version_id: uuid.UUID | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


@transaction.atomic
def propose_posts(bot: Bot, drafts: Sequence[Draft]) -> list[Post]:
    """Put drafts through the rules and the bot's approval policy. Returns their posts, born blocked, waiting for
    review or approved.

    Raises ValidationError for a draft that could never be a post: no text and no image, too many characters, an image
    without alternative text.
    """
    # One batch of a bot at a time: two at once would not see each other's texts.
    Bot.objects.select_for_update(of=("self",), no_key=True).get(pk=bot.pk)
    earlier = earlier_texts(bot)
    posts = []
    for draft in drafts:
        posts.append(_propose(bot, draft, earlier))
        earlier.add(draft.text)
    if posts:
        events.waits_for_review(bot, posts)
        live.tell(bot.pk, {"type": "post", "post": str(posts[-1].pk), "state": posts[-1].state})
    return posts


def _propose(bot: Bot, draft: Draft, earlier: EarlierTexts) -> Post:
    outgoing = OutgoingPost(draft.text, draft.images, draft.reply_to)
    check_draft(bot, outgoing)
    post = Post(
        bot=bot,
        connection=bot.connection,
        kind=Post.Kind.REPLY if draft.reply_to else Post.Kind.NEW,
        reply_to=draft.reply_to,
        continues=draft.continues,
        text=draft.text,
        arm=draft.arm,
        model_version_id=draft.model_version_id,
        provenance=draft.provenance,
        payload_sha256=payload_sha256(outgoing, draft.continues.pk if draft.continues else None),
        platform_key=new_key(),
    )
    verdicts = _verdicts(bot, post, earlier)
    post.state = _state_after_rules(bot, verdicts)
    if post.state == PostState.APPROVED:
        _sign(post, BY_POLICY)
    post.save()
    for verdict in verdicts:
        verdict.post = post
    Verdict.objects.bulk_create(verdicts)
    _save_images(post, draft.images)
    audit.record("post.propose", post, after={"text": post.text, "arm": post.arm, "state": post.state})
    events.proposed(post)
    return post


def check_draft(bot: Bot, post: OutgoingPost) -> None:
    """Raises ValidationError when the bot's platform could never take this post."""
    face, can = bot.connection.face, bot.connection.capabilities
    if not post.text.strip() and not post.images:
        raise ValidationError({"text": "Write something, or add an image."})
    if "\0" in post.text:
        raise ValidationError({"text": "The text holds a NUL character, which no platform takes: remove it."})
    if objection := face.objection(post):
        raise ValidationError({"text": objection})
    if len(post.images) > can.max_images:
        most = f"at most {can.max_images}" if can.max_images else "no"
        raise ValidationError({"images": f"{bot.connection} takes {most} images."})
    if post.reply_to and not can.can_reply:
        raise ValidationError({"reply_to": f"{bot.connection} takes no replies."})
    for image in post.images:
        if image.media_type not in MEDIA_TYPES:
            raise ValidationError(
                {"images": f"“{image.media_type}” is no image type that can be published: use PNG, JPEG, GIF or WebP."}
            )
        if not image.alt_text.strip():
            raise ValidationError({"images": "Describe the image in words, for people who cannot see it."})


def payload_sha256(post: OutgoingPost, continues: uuid.UUID | None = None) -> str:
    """SHA-256 of what would be sent: approval is bound to it, so that edited text needs approval again. `continues` is
    the row that a thread's part follows: its place, while the platform's id of that row is not yet known.
    """
    payload: dict[str, Any] = {
        "text": post.text,
        "reply_to": post.reply_to,
        "images": [[hashlib.sha256(i.content).hexdigest(), i.media_type, i.alt_text] for i in post.images],
    }
    if continues is not None:
        payload["continues"] = str(continues)
    return hashlib.sha256(json.dumps(payload, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def outgoing(post: Post) -> OutgoingPost:
    """What would be sent for this row now, images read from storage."""
    images = []
    for image in post.images.all():
        with image.file.open("rb") as file:
            images.append(OutgoingImage(file.read(), image.media_type, image.alt_text))
    return OutgoingPost(post.text, tuple(images), post.reply_to)


def earlier_texts(bot: Bot, besides: Post | None = None) -> EarlierTexts:
    """Everything that the bot has published, may have published or is about to, oldest first."""
    states = [*UPCOMING, PostState.PUBLISHED, PostState.UNKNOWN, PostState.NEEDS_HUMAN]
    posts = Post.objects.filter(bot=bot, state__in=states)
    if besides is not None:
        posts = posts.exclude(pk=besides.pk)
    return EarlierTexts(posts.order_by("created_at").values_list("text", flat=True))


def judged(bot: Bot, draft: Draft, earlier: EarlierTexts) -> list[Verdict]:
    """What the rules would say of a draft, were it proposed after these texts; nothing is stored."""
    return _verdicts(bot, _unsaved(draft), earlier)


def _unsaved(draft: Draft) -> Post:
    """As much of a draft's post as the rules look at."""
    return Post(text=draft.text, arm=draft.arm, model_version_id=draft.model_version_id, provenance=draft.provenance)


def blocked_by(bot: Bot, draft: Draft) -> str:
    """Why a draft could not be published whoever approves it: the platform's objection or the first rule that blocks,
    in words; "" when nothing does.
    """
    try:
        check_draft(bot, OutgoingPost(draft.text, draft.images, draft.reply_to))
    except ValidationError as error:
        return " ".join(error.messages)
    found = _verdicts(bot, _unsaved(draft), earlier_texts(bot))
    return next((verdict.reason for verdict in found if verdict.value == Verdict.Value.BLOCK), "")


def _verdicts(bot: Bot, post: Post, earlier: Sequence[str]) -> list[Verdict]:
    context = context_of(bot, post, earlier)
    return [
        Verdict(rule=rule, value=finding.verdict, reason=finding.reason[:300])
        for rule, finding in moderate(post.text, context, *site_rules.checks())
    ]


def context_of(bot: Bot, post: Post, earlier: Sequence[str]) -> RuleContext:
    """What the rules may know besides a post's text."""
    face = bot.connection.face
    return RuleContext(
        max_length=face.capabilities.max_length,
        count=face.count,
        earlier_texts=earlier,
        settings={"blocklist": bot.blocklist},
        # A person's own words are not memorised, whatever they resemble; those of a model that a person chose may be.
        nearest_shared_run=post.provenance.get("shared_run") if _of_a_model(post) else 0,
        measured_toxicity=toxicity.measured(post),
    )


def _of_a_model(post: Post) -> bool:
    return post.arm != Post.Arm.HUMAN or post.model_version_id is not None


def _state_after_rules(bot: Bot, verdicts: Sequence[Verdict]) -> PostState:
    values = {verdict.value for verdict in verdicts}
    if Verdict.Value.BLOCK in values:
        return PostState.BLOCKED
    if Verdict.Value.FLAG in values or bot.approval == Bot.Approval.REVIEW or demands_review(bot):
        return PostState.PENDING_REVIEW
    return PostState.APPROVED


def _save_images(post: Post, images: Sequence[OutgoingImage]) -> None:
    if images:
        quotas.demand("stored_bytes", sum(len(image.content) for image in images))
    for position, image in enumerate(images):
        digest = hashlib.sha256(image.content).hexdigest()
        row = PostImage(
            post=post,
            position=position,
            media_type=image.media_type,
            size=len(image.content),
            sha256=digest,
            alt_text=image.alt_text,
        )
        row.file.save(f"{post.pk}-{position}{MEDIA_TYPES[image.media_type]}", ContentFile(image.content), save=False)
        row.save()


def _sign(post: Post, by: str) -> None:
    post.approved_sha256, post.approved_by, post.approved_at = post.payload_sha256, by[:200], clock.now()


@transaction.atomic
def approve_post(post_id: uuid.UUID | str, *, seen_sha256: str | None = None) -> Post:
    """Approve a post as it stands. `seen_sha256` is the payload that the person saw; ValidationError when it has
    changed since.
    """
    post = Post.locked(post_id)
    if seen_sha256 and seen_sha256 != post.payload_sha256:
        raise ValidationError("This post was edited after you opened it: look at it again, then approve.")
    post = _step(post, PostState.APPROVED, "post.approve", sign=True)
    _record_decision(post, Decision.Choice.APPROVED)
    return post


@transaction.atomic
def decline_post(post_id: uuid.UUID | str, reason: str = "") -> Post:
    """Refuse a post; it stays as a record, and as a lesson for training."""
    post = Post.locked(post_id)
    post.decline_reason = reason.replace("\0", "")[:300]
    post = _step(post, PostState.DECLINED, "post.decline")
    _record_decision(post, Decision.Choice.DECLINED, reason=post.decline_reason)
    return post


@transaction.atomic
def cancel_post(post_id: uuid.UUID | str) -> Post:
    """Withdraw a post that has not been sent."""
    return _step(Post.locked(post_id), PostState.CANCELLED, "post.cancel")


@transaction.atomic
def edit_post(post_id: uuid.UUID | str, text: str, *, seen_sha256: str | None = None) -> Post:
    """Change a post's text. The rules look at it again, and it needs approval again. `seen_sha256` is the payload that
    the person saw; ValidationError when it has changed since.
    """
    post = Post.locked(post_id)
    if seen_sha256 and seen_sha256 != post.payload_sha256:
        raise ValidationError(
            "Somebody else changed this post after you opened it. It is shown as it is now, and your text is still in "
            "the field: take over what you want, and save again."
        )
    if post.state not in EDITABLE:
        raise IllegalTransition(post.state, PostState.PENDING_REVIEW)
    if post.verdicts.filter(rule=site_rules.OPERATOR, value=Verdict.Value.BLOCK).exists():
        raise ValidationError("The operator of this installation blocked this post. Write another one.")
    images = outgoing(post).images
    changed = OutgoingPost(text, images, post.reply_to)
    check_draft(post.bot, changed)
    before = {"text": post.text, "state": post.state}
    if post.state not in (PostState.PENDING_REVIEW, PostState.BLOCKED):
        post.move(PostState.PENDING_REVIEW)
        post.save(update_fields=["state"])
    post.text, post.payload_sha256 = text, payload_sha256(changed, post.continues_id)
    post.slot_utc = post.schedule = None
    post.approved_sha256 = post.approved_by = ""
    verdicts = _verdicts(post.bot, post, earlier_texts(post.bot, besides=post))
    blocked = any(verdict.value == Verdict.Value.BLOCK for verdict in verdicts)
    wanted = PostState.BLOCKED if blocked else PostState.PENDING_REVIEW
    if post.state != wanted:
        post.move(wanted)
    post.save()
    post.verdicts.all().delete()
    for verdict in verdicts:
        verdict.post = post
    Verdict.objects.bulk_create(verdicts)
    audit.record("post.edit", post, before=before, after={"text": text, "state": post.state})
    if text != before["text"]:
        _record_decision(post, Decision.Choice.EDITED, original_text=before["text"])
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post


def _record_decision(post: Post, choice: Decision.Choice, **more: str) -> None:
    """Keep what a person decided as a lesson; what Kilroy does by itself is nobody's taste."""
    if (who := audit.actor()) != audit.SYSTEM:
        Decision.objects.create(post=post, choice=choice, text=post.text, by=who.label[:200], at=clock.now(), **more)


def _step(post: Post, new: PostState, action: str, *, sign: bool = False) -> Post:
    before = {"state": post.state}
    check(post.state, new)
    post.state = new
    if sign:
        _sign(post, audit.actor().label)
    if new in (PostState.CANCELLED, PostState.DECLINED):
        post.slot_utc = None
    post.save()
    audit.record(action, post, before=before, after={"state": new, "reason": post.decline_reason})
    events.moved(post, new)
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post
