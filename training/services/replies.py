"""Answering a post that a bot has chosen: candidates from the bot's current version, ranked by its critics."""

from __future__ import annotations

import secrets
from uuid import UUID

from accounts.doorbell import ring
from bots import reply_choice
from bots.models import Incoming
from bots.reply_choice import Candidate
from bots.services import replies
from training.artifacts import ArtifactError
from training.engine.types import ReplyRanking
from training.models import ModelVersion
from training.services import critics, versions
from training.services.engine import Engine, EngineError

NO_MODEL = "The bot has no model yet: fine-tune one on comment–reply pairs first."
READS_NOTHING = (
    "This version was not taught to read what a post answers: fine-tune one on comment–reply pairs, with “context” "
    "among its conditions."
)


def ring_waiting() -> int:
    """Ring for every chosen post that nobody works on. Returns how many."""
    rung = 0
    for incoming in replies.waiting():
        ring(replies.ANSWER, incoming.organization_id, incoming.pk)
        rung += 1
    return rung


def answer_incoming(incoming_id: UUID | str, engine: Engine) -> None:
    """Draw candidates for a chosen post and propose the best. Does nothing when another worker has it."""
    incoming = replies.claim(incoming_id)
    if incoming is None:
        return
    version = versions.current_version(incoming.bot)
    if version is None:
        replies.give_up(incoming, NO_MODEL)
        return
    try:
        ranking, seed = _rank(incoming, version, engine)
    except (EngineError, ArtifactError) as error:  # trying again would not help
        replies.give_up(incoming, str(error))
        return
    if not ranking.reads_context:
        replies.give_up(incoming, READS_NOTHING)
        return
    if replies.look_again(incoming) is None:
        return
    replies.propose(
        incoming,
        [Candidate(each.text, each.realism, each.upvotes, each.objection, each.shared_run) for each in ranking.replies],
        version_id=version.pk,
        provenance={"version": version.number, "sampling": {"seed": seed, "candidates": len(ranking.replies)}},
        note=" ".join(ranking.notes),
    )


def _rank(incoming: Incoming, version: ModelVersion, engine: Engine) -> tuple[ReplyRanking, int]:
    rules, seed = replies.rules_of(incoming.bot), secrets.randbelow(2**31)
    (ranking,) = critics.rank_replies(
        version,
        [reply_choice.context(incoming.parents, incoming.text)],
        engine,
        seed,
        candidates=rules.candidates,
        least_realism=rules.least_realism,
    )
    return ranking, seed
