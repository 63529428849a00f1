"""Stedden's pipeline as one choice: a model that reads what it answers, its two critics, and the rules by which the bot
replies.

The fine-tuned version comes with the discriminator and the four-class upvote model; candidates for an answer are drawn
and ranked in `training.engine.critics.stedden`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q

from bots.models import Bot
from bots.services import replies
from training import configs
from training.engine.types import FEWEST_RATED_REPLIES, UPVOTE_BOUNDS, FinetuneConfig
from training.models import Dataset, Example, Run
from training.services import finetuning, run_log, runs
from training.settings_schema import OFFLINE_PRESETS

PRESET = OFFLINE_PRESETS["stedden"]
FEWEST_HELDOUT = 150
"""Posts kept out of training: the discriminator needs a hundred, and loses those that share an author or a thread with
the ones it is judged on.
"""


def start(
    bot: Bot,
    sources: Mapping[Dataset, float],
    config: Mapping[str, Any] | None = None,
    *,
    then_online: dict[str, Any] | None = None,
) -> Run:
    """Start fine-tuning on comment–reply pairs, and set the bot's rules for replies; whether it answers stays as it is.

    What `config` names wins over the preset. Raises ValidationError, saying what to do, when the bot's platform shows
    it nothing to answer, the datasets hold too few pairs for one of the critics, or `runs.start_finetune` would.
    """
    runs.check_sources(bot, sources)
    replies.check_can_answer(bot.connection)
    full = {**PRESET.config, **(config or {})}
    _check_pairs(sources, configs.finetune(full))
    with transaction.atomic():
        run = runs.start_finetune(bot, sources, full, then_online=then_online)
        rules = replies.change_rules(bot, **PRESET.reply_rules)
        off = "" if rules.active else " Nobody is answered until replies are turned on."
        run_log.note(run, f"{PRESET.label}: the bot's rules for replies were set {run_log.by()}.{off}")
    return run


def _check_pairs(sources: Mapping[Dataset, float], config: FinetuneConfig) -> None:
    if "context" not in {name.strip() for name in config.conditions.split(",")}:
        raise ValidationError(
            {"config": f"{PRESET.label} needs a model that reads what it answers: name “context” among the conditions."}
        )
    pair = ~Q(context="")
    edges = (float("-inf"), *UPVOTE_BOUNDS, float("inf"))
    classes = {
        f"class_{at}": Count("pk", filter=pair & Q(score__gte=low, score__lt=high))
        for at, (low, high) in enumerate(pairwise(edges))
    }
    found = Example.objects.filter(dataset__in=list(sources), may_learn=True, quarantined="").aggregate(
        posts=Count("pk"),
        pairs=Count("pk", filter=pair),
        authors=Count("author", filter=~Q(author=""), distinct=True),
        **classes,
    )
    rated = [found[name] for name in classes]
    if not found["pairs"]:
        raise ValidationError(
            {
                "dataset": f"None of these posts says what it answers. {PRESET.label} learns from comment–reply pairs: "
                "import a file with a column for the text that each reply answers, and choose it here."
            }
        )
    if sum(rated) < FEWEST_RATED_REPLIES or sum(map(bool, rated)) < 2:
        raise ValidationError(
            {
                "dataset": f"{sum(rated)} of the pairs have a score, in {sum(map(bool, rated))} classes of upvotes "
                f"(below 1, 1, 2–4, 5 and more). The upvote model needs at least {FEWEST_RATED_REPLIES} in two "
                "classes: import more pairs with their upvotes."
            }
        )
    kept = _share_kept_out(config, found["authors"])
    if kept * found["posts"] < FEWEST_HELDOUT:
        few = found["authors"] < finetuning.FEWEST_AUTHORS
        raise ValidationError(
            {
                "dataset": f"The discriminator needs about {FEWEST_HELDOUT} posts that are kept out of training; of "
                f"these {found['posts']:,}, {kept:.0%} would be. Import at least {FEWEST_HELDOUT / kept:,.0f} pairs"
                + (", or pairs that name their authors." if few else ".")
            }
        )


def _share_kept_out(config: FinetuneConfig, authors: int) -> float:
    """The share of posts that `finetuning.split` keeps out of training."""
    strangers = config.heldout_author_share if authors >= finetuning.FEWEST_AUTHORS else 0.0
    return strangers + (1 - strangers) * finetuning.HELDOUT_SHARE
