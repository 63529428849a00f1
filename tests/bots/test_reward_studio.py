"""A formula tried on past posts, saved, and past rewards made anew: by hand-worked numbers, on the page and over the
API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import clock
from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots import maturation, replay
from bots.models import Bot, Post, Reward
from bots.replay import Scheme
from bots.scoring import PRIOR
from bots.services import reward_studio
from tests.factories import World, client_of, make_bot, make_observation, make_post, make_reward

OLD = 864_000
"""Seconds: ten days, when every reaction has come (F = 1)."""
LIKES, BOTH = "likes", "likes + comments"


@pytest.fixture
def bot(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot]:
    monkeypatch.setattr(maturation, "curve_for", lambda bot: PRIOR)
    with tenant(world.acme.pk):
        yield make_bot(reading_ages=[15, 60], reward_age=60, score_formula=LIKES)


@pytest.fixture
def posts(bot: Bot) -> dict[str, Post]:
    """By name; a is the newest."""
    made = {}
    readings = {
        "a": ("learning", {"likes": 1, "comments": 9}),
        "b": ("baseline", {"likes": 4, "comments": 0}),
        "c": ("learning", {"likes": 3, "comments": 3}),
        "d": ("baseline", {"likes": 2, "comments": 1}),
        "e": ("human", {"likes": 10}),
    }
    for place, (name, (arm, metrics)) in enumerate(readings.items()):
        made[name] = make_post(bot, "published", name, arm=arm, published_at=clock.now() - timedelta(hours=place))
        make_observation(made[name], 0, age_seconds=900, metrics={"likes": 77})
        make_observation(made[name], 1, age_seconds=OLD, metrics=metrics)
    made["young"] = make_post(bot, "published", "young", published_at=clock.now() - timedelta(hours=9))
    make_observation(made["young"], 0, age_seconds=900, metrics={"likes": 3})
    make_post(bot, "published", "never read")
    return made


def names(lines: list[replay.Line]) -> str:
    return " ".join(line.post.text for line in lines)


def test_a_replay_by_hand(bot: Bot, posts: dict[str, Post]) -> None:
    found = reward_studio.replayed(bot, Scheme(BOTH, 60))
    assert {line.post.text: (line.now, line.then) for line in found.lines} == {
        "a": (1, 10), "b": (4, 4), "c": (3, 6), "d": (2, 3), "e": (10, None), "young": (None, None),
    }  # fmt: skip
    assert {line.post.text: (line.rank_now, line.rank_then) for line in found.compared} == {
        "a": (4, 1), "b": (1, 3), "c": (2, 2), "d": (3, 4),
    }  # fmt: skip
    assert found.spearman == pytest.approx(1 - 6 * (3**2 + 2**2 + 0 + 1) / (4 * 15))
    assert (found.pairs, found.flipped) == (6, 4)  # a beats b, c and d, and c beats b
    assert (names(found.top_now), names(found.top_then)) == ("e b c d a", "a c b d")
    assert names(found.movers) == "a b d"
    spread = (5 / 3) ** 0.5  # of 1, 3, 4 and 2
    assert found.arms_now == replay.Arms(2, 2, 2.0, 3.0, pytest.approx(-1 / spread), pytest.approx(2**0.5 / spread))
    assert (found.arms_then.learning_mean, found.arms_then.baseline_mean) == (8.0, 3.5)
    assert [(each.now, each.then) for each in found.missing] == [(1, 1), (0, 1)]
    assert "60 minutes" in found.missing[0].reason
    assert "comments" in found.missing[1].reason


def test_the_age_decides_which_reading_counts(bot: Bot, posts: dict[str, Post]) -> None:
    found = reward_studio.replayed(bot, Scheme(LIKES, 15))
    young = next(line for line in found.lines if line.post.text == "young")
    assert young.now is None
    assert young.then == pytest.approx(3 / PRIOR.share(900))
    bot.reading_ages = [15, 60, 30_000]
    assert reward_studio.replayed(bot, Scheme(LIKES, 30_000)).top_then == []


def test_a_replay_sees_what_a_reward_was_made_of(bot: Bot, posts: dict[str, Post]) -> None:
    """The curve and the toxicity are those that the newest reward noted."""
    note = {"half_life": 1e6, "shape": 1.0, "curve_posts": 3, "toxicity": 0.8}
    Post.objects.filter(pk=posts["a"].pk).update(provenance={"reward": note})
    found = reward_studio.replayed(bot, Scheme("likes + penalty(toxicity)", 60))
    share = 1 - 2 ** -(OLD / 60 / 1e6)
    at = next(line for line in found.lines if line.post.text == "a")
    assert (at.now, at.then) == (pytest.approx(1 / max(share, 0.01)), pytest.approx(1 / max(share, 0.01) - 0.693147))


def test_equal_values_share_their_rank() -> None:
    assert replay.ranks([3.0, 1.0, 3.0, 2.0]) == [3.5, 1.0, 3.5, 2.0]
    assert replay.inversions([(1, 2), (1, 1), (2, 1), (3, 1), (3, 9)]) == 2


def test_what_could_not_be_saved_is_not_replayed(bot: Bot) -> None:
    for formula, age, field in (("reach", 60, "score_formula"), (LIKES, 61, "reward_age"), (LIKES, 0, "reward_age")):
        with pytest.raises(reward_studio.ValidationError) as refusal:
            reward_studio.replayed(bot, Scheme(formula, age))
        assert list(refusal.value.message_dict) == [field]


def test_saving_keeps_rewards_until_somebody_wants_them_anew(bot: Bot, posts: dict[str, Post]) -> None:
    for name in ("a", "e"):
        make_reward(posts[name], posts[name].observations.first(), value=50)
    reward_studio.save(bot, Scheme(BOTH, 60))
    assert set(Reward.objects.values_list("value", "formula")) == {(50, LIKES)}
    assert reward_studio.rescore(bot) == reward_studio.Rescored(4, 2)
    rewards = {reward.post.text: (reward.value, reward.formula) for reward in Reward.objects.select_related("post")}
    assert rewards == {"a": (10, BOTH), "b": (4, BOTH), "c": (6, BOTH), "d": (3, BOTH), "e": (50, LIKES)}
    assert Reward.objects.get(post=posts["a"]).observation.number == 1
    posts["a"].refresh_from_db()
    assert posts["a"].provenance["reward"]["share"] == 1.0
    line = AuditEntry.objects.get(action="bot.rescore")
    assert (line.before, line.after["posts"]) == ({"formulas": [LIKES]}, 4)


# The page


def address(bot: Bot, end: str = "") -> str:
    return f"/o/acme/bots/{bot.pk}/reward/{end}"


CHOSEN = {"mode": "build", "weight-likes": "1", "weight-comments": "2", "per": "", "toxicity": "", "reward_age": "60"}


def test_the_page_replays_what_is_chosen_and_saves_nothing(world: World, bot: Bot, posts: dict[str, Post]) -> None:
    client = client_of(world.alice)
    whole = client.post(address(bot, "replay/"), CHOSEN)
    part = client.post(address(bot, "replay/"), CHOSEN, headers={"HX-Request": "true"})
    assert (whole.status_code, part.status_code) == (200, 200)
    assert b"<h1>" in whole.content
    assert b"<h1>" not in part.content
    for answer in (whole, part):
        assert "likes + 2 * comments" in answer.content.decode()
        assert "of all pairs change sides" in answer.content.decode()
    bot.refresh_from_db()
    assert bot.score_formula == LIKES


def test_the_page_saves_what_is_chosen_or_written(world: World, bot: Bot, posts: dict[str, Post]) -> None:
    client = client_of(world.alice)
    assert client.post(address(bot, "save/"), CHOSEN | {"logarithm": "on", "rescore": "on"}).status_code == 302
    bot.refresh_from_db()
    assert bot.score_formula == "log1p(likes + 2 * comments)"
    assert Reward.objects.count() == 4
    written = {"mode": "write", "formula": "likes * comments", "reward_age": "15"}
    assert client.post(address(bot, "save/"), written).status_code == 302
    bot.refresh_from_db()
    assert (bot.score_formula, bot.reward_age) == ("likes * comments", 15)
    page = client.get(address(bot)).content.decode()
    assert 'value="write" required id="id_mode_1" checked' in page  # shown as text only


@pytest.mark.parametrize("end", ["replay/", "save/"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"weight-likes": "", "weight-comments": "0"}, "Give at least one reaction a weight"),
        ({"low": "3", "high": "1"}, "must be below the upper one"),
        ({"mode": "write", "formula": "log(likes)"}, "use log1p"),
        ({"reward_age": "61"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_used_is_said(world: World, bot: Bot, end: str, wrong: dict[str, str], words: str) -> None:
    answer = client_of(world.alice).post(address(bot, end), CHOSEN | wrong)
    assert (answer.status_code, words in answer.content.decode()) == (400, True)
    bot.refresh_from_db()
    assert (bot.score_formula, bot.reward_age) == (LIKES, 60)


def test_who_may_only_look_sees_the_formula_and_no_form(world: World, bot: Bot, posts: dict[str, Post]) -> None:
    client = client_of(world.bob)
    page = client.get(address(bot))
    assert (page.status_code, b"data-studio" in page.content) == (200, False)
    assert client.post(address(bot, "replay/"), CHOSEN).status_code == 403


def test_the_page_asks_few_questions(world: World, bot: Bot, posts: dict[str, Post]) -> None:
    for number in range(60):
        make_reward(make_post(bot, "published", arm="learning"), value=number)
    client = client_of(world.alice)
    client.get(address(bot))
    with CaptureQueriesContext(connection) as queries:
        client.post(address(bot, "replay/"), CHOSEN)
    assert len(queries) <= 15, [query["sql"][:150] for query in queries]


def test_over_the_api(world: World, bot: Bot, posts: dict[str, Post]) -> None:
    client = client_of(world.alice)

    def ask(verb: str, body: dict[str, Any]) -> Any:
        path = f"/api/v1/organizations/acme/bots/{bot.pk}/{verb}/"
        return client.post(path, json.dumps(body), content_type="application/json")

    answer = ask("replay", {"score_formula": BOTH})
    assert (answer.status_code, answer.json()["flipped"], answer.json()["compared"]) == (200, 4, 4)
    assert answer.json()["top_then"][0] == str(posts["a"].pk)
    assert ask("replay", {"score_formula": "reach"}).status_code == 400
    assert ask("rescore", {}).json() == {"posts": 5, "kept": 1}
