"""What a bot answers, and with which of its candidates: rules that read no database and ask no platform, each with its
reason in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bots.moderation.rules.blocklist import holds
from bots.reply_models import ReplyRules
from faces.contract import RemotePost

LEVELS = 3
"""How many posts of a thread a model is shown, the one to answer included: as many as it was taught on."""
BEATEN = "Another one promised more."
"""Why a candidate that could have been sent was not taken."""


@dataclass(frozen=True)
class Circumstances:
    """What is known of a post besides itself.

    `age` is in minutes of the platform's clock. `source`: how it came to the bot's notice. `community_allowed`: the
    platform and the recorded permission let the bot speak there unasked. `own`: the bot's own account wrote it;
    `answered`: that account has answered it; `by_bot`: an automated account wrote it.
    """

    age: float
    source: Literal["mention", "comment", "community"]
    community_allowed: bool = False
    own: bool = False
    answered: bool = False
    by_bot: bool = False
    language: str = ""
    blocklist: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taken:
    """Answers that count against the caps: in this post's thread, to its author in 24 hours, in the last hour."""

    thread: int = 0
    author: int = 0
    hour: int = 0


@dataclass(frozen=True)
class Candidate:
    """A drawn answer. `realism` is the discriminator's probability that a person wrote it and `score` what the reward
    model expects, None where there is no such critic; `objection` says why it may not be sent, "" when it may.
    `shared_run` is the longest run of characters that it shares with a training text, None if unknown.
    """

    text: str
    realism: float | None = None
    score: float | None = None
    objection: str = ""
    shared_run: int | None = None


def too_young(rules: ReplyRules, age: float) -> bool:
    """Whether a post, its age in minutes, is to be looked at again later."""
    return age < rules.youngest_minutes


def objection(rules: ReplyRules, post: RemotePost, known: Circumstances) -> str:
    """Why the bot does not answer this post, in words; "" when it may."""
    return _unanswerable(post, known) or _not_asked(rules, post, known) or _outside(rules, post, known)


def _unanswerable(post: RemotePost, known: Circumstances) -> str:
    if known.own:
        return "It is the account's own post."
    if post.closed:
        return f"Nobody can answer it: {post.closed}."
    if post.is_repost:
        return "It is a repost."
    if known.answered:
        return "The account has answered it already."
    return "" if post.text.strip() else "It has no words."


def _not_asked(rules: ReplyRules, post: RemotePost, known: Circumstances) -> str:
    if known.by_bot and not rules.answer_bots:
        return "Its author is an automated account."
    if not post.summoned and not known.community_allowed:
        return "Nobody asked: it neither mentions the account nor answers it."
    if known.source == "mention" and not rules.mentions:
        return "Mentions are not answered."
    if known.source == "comment" and not rules.comments:
        return "Comments are not answered."
    return ""


def _outside(rules: ReplyRules, post: RemotePost, known: Circumstances) -> str:
    if known.age > rules.oldest_minutes:
        return f"It is {known.age:,.0f} minutes old; at most {rules.oldest_minutes:,} are allowed."
    if post.depth > rules.deepest:
        return f"It stands below {post.depth} other posts; at most {rules.deepest} are allowed."
    if rules.least_score is not None:
        likes = post.metrics.get("likes")
        if likes is None:
            return "The platform does not say how many likes it has."
        if likes < rules.least_score:
            return f"It has {likes} likes; at least {rules.least_score} are asked for."
    if rules.keywords and not any(holds(post.text, word) for word in rules.keywords):
        return "It holds none of the keywords."
    # An unknown language is no reason: short posts rarely show theirs.
    if rules.languages and known.language and known.language not in rules.languages:
        return f"It is in another language ({known.language})."
    for word in known.blocklist:
        if holds(post.text, word):
            return f"It holds “{word}”, which is on this bot's blocklist."
    return ""


def cap_reached(rules: ReplyRules, taken: Taken) -> str:
    """Which cap keeps the bot from one more answer, in words; "" when none does."""
    if taken.thread >= rules.per_thread:
        return f"The thread has had its {rules.per_thread} answers."
    if taken.author >= rules.per_author:
        return f"Its author has had {rules.per_author} answers in 24 hours."
    if taken.hour >= rules.per_hour:
        return f"The bot has given its {rules.per_hour} answers of an hour."
    return ""


def best_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates that may be sent by what the reward model expects, or where there is none by realism; then the
    rest.
    """

    def worth(candidate: Candidate) -> float:
        known = candidate.realism if candidate.score is None else candidate.score
        return 0.0 if known is None else known

    return sorted(candidates, key=lambda candidate: (bool(candidate.objection), -worth(candidate)))


def why_none(candidates: Sequence[Candidate], least_realism: float) -> str:
    """Why no choice can be made among these candidates for want of critics, and what to do; "" when one can."""
    if all(candidate.score is None and candidate.realism is None for candidate in candidates):
        return (
            "This version has neither a discriminator nor an upvote model to choose by: fine-tune it on comment–reply "
            "pairs with scores, by several authors."
        )
    if least_realism > 0 and all(candidate.realism is None for candidate in candidates):
        return (
            "This version has no discriminator: fine-tune it on more pairs by different authors, or set the least "
            "realism to 0."
        )
    return ""


def context(parents: Sequence[Sequence[str]], text: str) -> str:
    """What is to be answered as models are shown it: the last posts of the thread, oldest first, a line each."""
    above = [said for _, said in parents][-(LEVELS - 1) :]
    return "\n".join([*above, text])
