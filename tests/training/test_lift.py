"""“Is it getting better?”: the sentence says what is known, of how many posts, and no more."""

from __future__ import annotations

import pytest

from bots.models import Bot
from tests.factories import make_bot, make_post, make_reward, make_round, make_run, make_version
from training import history, queries
from training.engine.round_types import ScoredPost
from training.engine.rounds import score_metrics
from training.engine.scores import normalise_rewards


def after(bot: Bot, **metrics: float) -> dict[str, object]:
    make_round(make_run(bot, "online"), 12, metrics=metrics)
    return queries.lift(bot)


def test_before_online_learning_nothing_is_known(bot: Bot) -> None:
    answer = queries.lift(bot)
    assert answer["tone"] == "waiting"
    assert answer["sentence"] == "Is it getting better? Not yet known: online learning has not begun."


def test_too_few_scored_posts_are_said_to_be_too_few(bot: Bot) -> None:
    answer = after(bot, learning_posts=30, baseline_posts=5, reward_mean=2.0, baseline_mean=0.0)
    assert (answer["tone"], answer["sentence"]) == (
        "waiting",
        "Is it getting better? Not yet known: too few posts have a score, 30 of its own and 5 of the frozen baseline.",
    )


def test_scores_that_are_all_equal_are_said_to_be_equal(bot: Bot) -> None:
    answer = after(bot, learning_posts=40, baseline_posts=40, equal_scores=80, reward_mean=0.0, baseline_mean=0.0)
    assert (answer["tone"], answer["sentence"]) == (
        "waiting",
        "Is it getting better? Not yet known: all 80 scores are equal, so there is nothing to learn from yet.",
    )


@pytest.mark.parametrize(
    ("lift", "tone", "sentence"),
    [
        (
            (0.62, 0.31, 0.93),
            "better",
            (
                "Yes: posts from the learning model score 0.62 sd above the frozen one; 95 % +0.31 to +0.93; "
                "212 posts against 38."
            ),
        ),
        (
            (-0.62, -0.93, -0.31),
            "worse",
            (
                "No: posts from the learning model score 0.62 sd below the frozen one; 95 % −0.93 to −0.31; "
                "212 posts against 38."
            ),
        ),
        (
            (0.2, -0.6, 1.0),
            "unknown",
            (
                "Not yet known: posts from the learning model score 0.20 sd above the frozen one; 95 % −0.60 to +1.00, "
                "so 0 fits, too; 212 posts against 38."
            ),
        ),
        (
            (0.3, 0.0, 0.6),
            "unknown",
            (
                "Not yet known: posts from the learning model score 0.30 sd above the frozen one; 95 % +0.00 to +0.60, "
                "so 0 fits, too; 212 posts against 38."
            ),
        ),
    ],
)
def test_the_sentence_is_plain(bot: Bot, lift: tuple[float, float, float], tone: str, sentence: str) -> None:
    metrics = dict(zip(("lift", "lift_low", "lift_high"), lift, strict=True))
    answer = after(bot, learning_posts=212, baseline_posts=38, **metrics)
    assert (answer["tone"], answer["sentence"]) == (tone, sentence)
    assert str(answer["detail"]).startswith("After round 12. One unit (sd) is one standard deviation")


def test_the_engine_is_told_which_frozen_version_a_post_is_compared_with(bot: Bot) -> None:
    """A new fine-tuning has a baseline of its own; a rollback within the old one's lineage has not."""
    first = make_version(bot)
    learned = make_version(bot, kind="online", parent=first)
    second = make_version(bot)
    runs = [make_run(bot, "online", start_version=version, state="finished") for version in (first, learned, second)]
    for run in runs:
        make_reward(make_post(bot, "published", arm="learning", provenance={"run": str(run.pk)}))
    make_reward(make_post(bot, "published", arm="learning"))
    make_reward(make_post(make_bot(bot.connection), "published", arm="learning", provenance={"run": str(runs[0].pk)}))
    lineages = [post.lineage for post in history.scored_posts(bot)]
    assert lineages == [str(first.pk), str(first.pk), str(second.pk), ""]


def test_a_young_readings_noise_reaches_the_engine(bot: Bot) -> None:
    make_reward(make_post(bot, "published", arm="learning", provenance={"reward": {"noise": 1.75}}))
    make_reward(make_post(bot, "published", arm="learning"))
    assert [post.noise for post in history.scored_posts(bot)] == [1.75, 1.0]


@pytest.mark.parametrize(
    ("viral", "sentence"),
    [
        (0.0, "Is it getting better? Not yet known: all 80 scores are equal, so there is nothing to learn from yet."),
        (
            10.0,
            (
                "Not yet known: posts from the learning model score 0.07 sd above the frozen one; 95 % −0.16 to +0.31, "
                "so 0 fits, too; 40 posts against 40."
            ),
        ),
    ],
)
def test_equal_scores_and_one_viral_post_among_them_are_no_lift(bot: Bot, viral: float, sentence: str) -> None:
    posts = [
        ScoredPost(str(n), "", "baseline" if n % 2 else "learning", viral if n == 30 else 0.0, n * 7 % 168, n)
        for n in range(80)
    ]
    rewards = normalise_rewards([post.reward for post in posts], [post.hour_of_week for post in posts])
    assert after(bot, **score_metrics(posts, rewards, ""))["sentence"] == sentence
