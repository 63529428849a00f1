"""What the operator decides about posts that are not out yet: nothing to object to, or never."""

from __future__ import annotations

from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from bots import live
from bots.models import Post, Verdict
from bots.services.posts import cancel_post
from bots.services.site_rules import HITS, OPERATOR
from bots.states import TRANSITIONS, PostState


@transaction.atomic
def dismiss(post_id: UUID | str, note: str = "") -> Post:
    """The rules were wrong about a post: their findings count as passed, and one that they blocked waits for its own
    people's review. Raises ValidationError where there is nothing to dismiss.
    """
    post = Post.locked(post_id)
    found = list(post.verdicts.filter(value__in=HITS))
    if not found or post.state not in (PostState.PENDING_REVIEW, PostState.BLOCKED):
        raise ValidationError("No rule has a finding on this post that waits for a decision.")
    before = {"state": post.state, "verdicts": {verdict.rule: verdict.value for verdict in found}}
    said = f"The operator saw nothing to object to{f': {note}' if note else '.'}"
    for verdict in found:
        verdict.value, verdict.reason = Verdict.Value.PASS, f"{said} (Before: {verdict.reason})"[:300]
        verdict.save(update_fields=["value", "reason"])
    if post.state == PostState.BLOCKED:
        post.move(PostState.PENDING_REVIEW)
        post.save(update_fields=["state", "updated_at"])
    audit.record("post.dismiss_findings", post, before=before, after={"state": post.state, "note": note})
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post


@transaction.atomic
def block(post_id: UUID | str, reason: str) -> Post:
    """Keep a post that is not out yet from ever being published as it stands; one that is due already is cancelled.
    Its people read the reason. Raises ValidationError, IllegalTransition.
    """
    reason = reason.replace("\0", "").strip()
    if not reason:
        raise ValidationError({"reason": "Say why: its people read this."})
    post = Post.locked(post_id)
    verdict = {"value": Verdict.Value.BLOCK, "reason": f"The operator: {reason}"[:300]}
    Verdict.objects.update_or_create(post=post, rule=OPERATOR, defaults=verdict)
    before = {"state": post.state}
    if post.state != PostState.BLOCKED:
        if PostState.BLOCKED not in TRANSITIONS[PostState(post.state)]:
            return cancel_post(post.pk)
        post.move(PostState.BLOCKED)
        post.slot_utc = post.schedule = None
        post.approved_sha256 = post.approved_by = ""
        post.save()
    audit.record("post.block", post, before=before, after={"state": post.state, "reason": reason})
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post
