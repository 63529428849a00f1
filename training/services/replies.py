"""Answering a post that a bot has chosen: candidates from the bot's current version, ranked by its critics."""

from __future__ import annotations

import secrets
import time
from uuid import UUID

from accounts import quotas
from accounts.doorbell import ring
from accounts.quotas import QuotaExceeded
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


def answer_incoming(incoming_id: UUID | str, engine: Engine) -> bool:
    """Draw candidates for a chosen post and propose the best. False, and nothing done, when another worker has it, or
    the day's quotas have no room.
    """
    try:
        quotas.check("gpu_seconds_per_day")
        quotas.check("candidates_per_day")
    except QuotaExceeded as error:
        replies.put_off(incoming_id, " ".join(error.messages))
        return False
    incoming = replies.claim(incoming_id)
    if incoming is None:
        return False
    began = time.monotonic()
    try:
        _answer(incoming, engine)
    finally:
        quotas.charge("gpu_seconds_per_day", time.monotonic() - began)
    return True


def _answer(incoming: Incoming, engine: Engine) -> None:
    version = versions.current_version(incoming.bot)
    if version is None:
        replies.give_up(incoming, NO_MODEL)
        return
    try:
        ranking, seed = _rank(incoming, version, engine)
    except (EngineError, ArtifactError) as error:  # trying again would not help
        replies.give_up(incoming, str(error))
        return
    quotas.charge("candidates_per_day", len(ranking.replies))
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
