"""The kinds of things that people are told of: name → what happened, who is told, and how unless they choose otherwise.

One table: `accounts.notifications.tell`, the pages, the mails and the API all read it. A new kind is one line here.
"""

from __future__ import annotations

from dataclasses import dataclass

from accounts.models import NotificationChoice
from accounts.roles import allows

NOW, DIGEST = NotificationChoice.Email.NOW, NotificationChoice.Email.DIGEST


@dataclass(frozen=True)
class Kind:
    """What happened, in a few words (`label`) and a sentence (`says`); the permission whose holders are told; whether
    it is mailed at once, in the daily digest or not at all until a person chooses.
    """

    label: str
    says: str
    permission: str
    email: str = NOW


KINDS: dict[str, Kind] = {
    "post.needs_human": Kind(
        "A post needs a person", "Nobody could find out whether a post was published.", "post_approve"
    ),
    "review.waiting": Kind(
        "Posts wait for review", "A bot wrote posts that somebody has to read.", "post_approve", DIGEST
    ),
    "reply.waiting": Kind(
        "Answers wait for review", "A bot wrote answers to people that somebody has to read.", "post_approve", DIGEST
    ),
    "queue.empty": Kind("A queue is empty", "The next slots of a bot pass without a post.", "post_write"),
    "connection.broken": Kind(
        "A connection is broken", "A platform takes nothing more; the posts of its bots wait.", "connection_edit"
    ),
    "run.failed": Kind("Training failed", "A run, or a planned training, came to nothing.", "run_control"),
    "run.alert": Kind("Training looks wrong", "The numbers of a run say that something goes wrong.", "run_control"),
    "run.finished": Kind("Training finished", "A run came to its end.", "run_control", DIGEST),
    "model.held_back": Kind(
        "A new version was held back", "A version did not pass its gate and was not put to use.", "model_promote"
    ),
    "canary.rolled_back": Kind(
        "A version was rolled back", "A version on trial did worse, and the one before speaks again.", "model_promote"
    ),
    "quota.near": Kind("A quota is nearly used up", "Nine tenths of a quota are used.", "organization_edit"),
    "member.joined": Kind("Somebody joined", "A person accepted an invitation.", "member_manage", DIGEST),
    "webhook.disabled": Kind("A webhook was switched off", "It could not be reached for days.", "webhook_manage"),
    "export.ready": Kind(
        "Your export is ready", "An export that you asked for can be downloaded.", "organization_export"
    ),
    "post.taken_down": Kind(
        "The operator took a post down", "A post was deleted from its platform by the operator.", "organization_edit"
    ),
    "sanction.imposed": Kind(
        "The operator restricts you", "A warning, a limit or a suspension, and what you can do.", "organization_edit"
    ),
    "appeal.answered": Kind("An appeal was answered", "The operator decided on your appeal.", "organization_edit"),
}


def kinds_for(role: str) -> list[str]:
    """The kinds that somebody with this role may be told of."""
    return [name for name, kind in KINDS.items() if allows(role, kind.permission)]
