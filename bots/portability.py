"""How bots and posts travel with an organization: nothing goes on by itself where they arrive, and nothing that may be
out already is sent a second time.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from django.core.exceptions import ValidationError

from accounts import clock
from accounts.exports import ImportRefused, Passage, Treatment, register
from accounts.portability import IMPORTED
from bots import slots
from bots.models import Bot, Incoming, Post, PostImage, ReplyRules, Schedule, ScoreObservation, Verdict
from bots.moderation.earlier import EarlierTexts
from bots.services import posts
from bots.services.bots import check_rules
from bots.states import PostState, check
from faces.models import Connection

LOOK = f"{IMPORTED} while it was being sent: look whether it was published."


def register_models() -> None:
    register("bots.Reward", "bots.Verdict", "bots.Decision", "bots.ReplyCandidate")
    register(
        "bots.Report",
        "bots.Sanction",
        "bots.Takedown",
        treatment=Treatment(stays="They are records of this installation's operator."),
    )
    register("bots.Bot", treatment=Treatment(arrive=_bot))
    register("bots.Schedule", treatment=Treatment(arrive=_schedule))
    register("bots.Post", treatment=Treatment(arrive=_post, finish=_look_again))
    register("bots.PostImage", treatment=Treatment(arrive=_image, check_file=_check_image))
    register("bots.ScoreObservation", treatment=Treatment(arrive=_observation))
    register("bots.Incoming", treatment=Treatment(arrive=_incoming))
    register("bots.ReplyRules", treatment=Treatment(arrive=_reply_rules))


def _bot(row: Bot, passage: Passage) -> None:
    row.pause_reason = row.pause_reason or f"{IMPORTED}."
    row.paused_at = row.paused_at or clock.now()
    try:
        check_rules(row)
    except (ValidationError, Connection.DoesNotExist) as error:
        told = error.messages[0] if isinstance(error, ValidationError) else "It has no connection."
        raise ImportRefused(f"The archive's bot “{row.name}” cannot be used: {told}") from None


def _schedule(row: Schedule, passage: Passage) -> None:
    row.active = False
    try:
        slots.check(row)
    except (ValueError, TypeError, AttributeError) as error:
        raise ImportRefused(f"The archive has a schedule that cannot be used: {error}") from None


def _post(row: Post, passage: Passage) -> None:
    """What waits to be sent loses its slot; what was being sent waits for a person."""
    row.platform_key = passage.key(row.platform_key)
    row.owner, row.lease_until, row.not_before = "", None, None
    row.remote_url = _address(row.remote_url)
    waiting = row.state in (PostState.SCHEDULED, PostState.QUEUED, PostState.LEASED) and row.sent_at is None
    if waiting:
        row.state = PostState.APPROVED
    elif row.state in (PostState.SCHEDULED, PostState.QUEUED, PostState.LEASED, PostState.SENDING, PostState.UNKNOWN):
        row.state, row.last_error = PostState.NEEDS_HUMAN, LOOK
    if row.state in (PostState.APPROVED, PostState.NEEDS_HUMAN):
        row.slot_utc = row.schedule_id = None


def _address(url: str) -> str:
    if url and not url.startswith(("https://", "http://")):
        raise ImportRefused("The archive has a link that is no address of the web.")
    return url


def _image(row: PostImage, passage: Passage) -> None:
    if row.media_type not in posts.MEDIA_TYPES:
        raise ImportRefused("The archive has an image of a type that cannot be published.")


def _check_image(row: PostImage, name: str, file: BinaryIO, sha256: str) -> None:
    if row.sha256 != sha256:
        raise ImportRefused("The archive has an image that is not the one of its post.")


def _observation(row: ScoreObservation, passage: Passage) -> None:
    if not isinstance(row.metrics, dict) or not all(type(value) in (int, float) for value in row.metrics.values()):
        raise ImportRefused("The archive has reactions to a post that are no numbers.")


def _incoming(row: Incoming, passage: Passage) -> None:
    row.url = _address(row.url)
    row.lease_until = None
    if row.state == Incoming.State.CHOSEN:  # the installation that it comes from may be answering it
        row.state, row.reason = Incoming.State.FAILED, f"{IMPORTED} before it was answered."


def _reply_rules(row: ReplyRules, passage: Passage) -> None:
    row.active, row.next_look_at = False, None
    for words in (row.communities, row.keywords, row.languages, row.cursors.values()):
        if not all(isinstance(word, str) for word in words):
            raise ImportRefused("The archive has rules for replies that cannot be used.")


def _look_again() -> None:
    """Approval is bound to a post's content, of which the row that it continues is a part; and what has yet to be
    published is judged by this installation's rules.
    """
    for pk in list(Post.objects.filter(continues__isnull=False).values_list("pk", flat=True)):
        _sign_again(Post.objects.get(pk=pk))
    unpublished = Post.objects.filter(state__in=[PostState.PENDING_REVIEW, PostState.APPROVED])
    for pk in list(unpublished.values_list("pk", flat=True)):
        _judge(Post.objects.select_related("bot__connection").get(pk=pk))


def _sign_again(post: Post) -> None:
    try:
        sha256 = posts.payload_sha256(posts.outgoing(post), post.continues_id)
    except FileNotFoundError:  # without its image it cannot be sent, whatever its approval says
        return
    approved = sha256 if post.approved_sha256 == post.payload_sha256 else post.approved_sha256
    Post.objects.filter(pk=post.pk).update(payload_sha256=sha256, approved_sha256=approved)


def _judge(post: Post) -> None:
    draft = posts.Draft(post.text, arm=post.arm, provenance=post.provenance)
    blocks = [
        verdict for verdict in posts.judged(post.bot, draft, EarlierTexts()) if verdict.value == Verdict.Value.BLOCK
    ]
    if not blocks:
        return
    check(post.state, PostState.BLOCKED)
    Post.objects.filter(pk=post.pk).update(state=PostState.BLOCKED, approved_sha256="", approved_by="")
    for verdict in blocks:
        facts: dict[str, Any] = {"value": verdict.value, "reason": verdict.reason}
        Verdict.objects.update_or_create(post=post, rule=verdict.rule, defaults=facts)
