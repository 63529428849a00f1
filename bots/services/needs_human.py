"""Posts whose outcome nobody could find out: a person looks, and decides."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, quotas
from accounts.notifications import settle
from bots import events, live
from bots.models import Post
from bots.services import threads
from bots.services.posts import outgoing
from bots.states import IllegalTransition, PostState
from faces.contract import FaceError, Published

CLOCK_SLACK = timedelta(minutes=5)
LONGEST_ID = 300


def waiting() -> int:
    """How many posts of the active organization need a person."""
    return int(Post.objects.filter(state=PostState.NEEDS_HUMAN).count())


def confirm_published(post_id: UUID | str, reference: str) -> Post:
    """Book a post as published because a person found it: `reference` is its link or its platform's id. The platform is
    asked for it; where it cannot be found that way, the person's word is taken, and the audit log says so.

    Raises ValidationError for a reference that can be none, or that belongs to another post; IllegalTransition.
    """
    reference = reference.replace("\0", "").strip()
    if not _id_in(reference) or len(reference) > LONGEST_ID:
        raise ValidationError({"reference": "Paste the link of the post, or its id on the platform."})
    post = Post.objects.select_related("bot", "connection", "continues").get(pk=post_id)
    if post.state != PostState.NEEDS_HUMAN:
        raise IllegalTransition(post.state, PostState.PUBLISHED)
    proof, verified = _proof(post, reference)
    return _book(post.pk, proof, verified=verified)


def _proof(post: Post, reference: str) -> tuple[Published, bool]:
    """The post that a person means, and whether the platform confirmed it."""
    sent_at, face = post.sent_at or post.updated_at, post.connection.face
    try:
        for published in face.find(post.platform_key, threads.addressed(post, outgoing(post)), sent_at - CLOCK_SLACK):
            if reference in (published.remote_id, published.url):
                return published, True
    except FaceError:  # it cannot be asked now: looking the id up may still work
        pass
    remote_id, link = _id_in(reference), reference if "://" in reference else ""
    try:
        seen = face.look_up(remote_id)
    except FaceError:
        seen = None
    if seen is not None:
        return Published(seen.remote_id, seen.url or link, seen.at), True
    return Published(remote_id, link, sent_at), False


def _id_in(reference: str) -> str:
    """A link's last part, or the reference itself."""
    if "://" not in reference:
        return reference
    parts = [part for part in urlsplit(reference).path.split("/") if part]
    return parts[-1] if parts else ""


@transaction.atomic
def _book(post_id: UUID, proof: Published, *, verified: bool) -> Post:
    post = Post.locked(post_id)
    if Post.objects.filter(connection=post.connection_id, remote_id=proof.remote_id).exists():
        raise ValidationError({"reference": "Another post of this connection is that one already."})
    post.move(PostState.PUBLISHED)
    post.remote_id, post.remote_url, post.published_at = proof.remote_id, proof.url, proof.at
    post.last_error, post.readings_due = "", 0
    ages, speed = post.bot.reading_ages, post.connection.face.clock_speed()
    post.next_reading_at = proof.at + timedelta(minutes=ages[0]) / speed
    post.save()
    return _done(post, "post.confirm_published", remote_id=proof.remote_id, url=proof.url, verified=verified)


@transaction.atomic
def send_again(post_id: UUID | str) -> Post:
    """Queue a post again, because a person looked and it is not on the platform. Raises IllegalTransition."""
    post = _needing(post_id, PostState.QUEUED)
    post.not_before = post.sent_at = post.looked_for_at = None
    post.absences, post.last_error = 0, ""
    post.save()
    quotas.give_back("posts_per_day")
    return _done(post, "post.send_again")


@transaction.atomic
def give_up(post_id: UUID | str) -> Post:
    """Leave a post whose outcome is not known; it is never sent again. Raises IllegalTransition."""
    post = _needing(post_id, PostState.CANCELLED)
    post.slot_utc = None
    post.save()
    return _done(post, "post.give_up")


def _needing(post_id: UUID | str, new: PostState) -> Post:
    post = Post.locked(post_id)
    if post.state != PostState.NEEDS_HUMAN:
        raise IllegalTransition(post.state, new)
    post.move(new)
    return post


def _done(post: Post, action: str, **told: object) -> Post:
    before = {"state": PostState.NEEDS_HUMAN}
    audit.record(action, post, before=before, after={"state": post.state, **told})
    events.moved(post, post.state)
    if not waiting():
        settle(*events.NEEDS_HUMAN)
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post
