"""What a round remembers of what was learned from: across roll-backs, runs and changes of the algorithm."""

from dataclasses import replace

import pytest

from tests.training.engine import writers
from tests.training.engine.test_online_algorithms import config_of, people
from tests.training.engine.test_online_rounds import ignore, later_round, scored_posts
from training.engine import online_critic, online_published, policy
from training.engine.algorithms import critic
from training.engine.online import run_round
from training.engine.online_published import MOST_POSTS


def learning(posts):
    return [post for post in posts if post.arm == "learning"]


@pytest.fixture
def batches(monkeypatch):
    """How many posts each batch of published posts held."""
    seen, honest = [], policy.policy_batch

    def counted(own, reference, samples, rewards):
        seen.append(len(samples))
        return honest(own, reference, samples, rewards)

    for module in (policy, online_published, online_critic):
        monkeypatch.setattr(module, "policy_batch", counted)
    return seen


@pytest.mark.parametrize("algorithm", ["reinforce", "ppo", "actor_critic"])
def test_of_a_long_past_the_newest_posts_are_learned_from_and_the_rest_is_passed_over(tmp_path, batches, algorithm):
    posts = scored_posts(240)
    output = run_round(later_round(tmp_path, posts, config=config_of(algorithm)), ignore)
    assert batches == [MOST_POSTS]
    assert output.decisions[0] == ("Of 180 new scores the newest 128 are learned from, the older ones are passed over.")
    assert set(output.state["trained"]) == {post.key for post in learning(posts)}


def test_bespos_critic_learns_from_the_newest_posts_too(tmp_path, monkeypatch):
    seen, honest = [], critic.read
    monkeypatch.setattr(
        critic, "read", lambda model, documents: (seen.append(len(documents)), honest(model, documents))[1]
    )
    output = run_round(later_round(tmp_path, scored_posts(240), config=config_of("bespo")), ignore)
    assert seen[0] == MOST_POSTS
    assert "Of 180 new scores the newest 128 are learned from, the older ones are passed over." in output.decisions
    assert len(output.state["trained"]) == 180


def test_the_newest_posts_are_the_last_published(tmp_path, monkeypatch):
    seen, honest = [], online_published.policy_batch

    def noted(own, reference, samples, rewards):
        seen.extend(sample.text for sample in samples)
        return honest(own, reference, samples, rewards)

    monkeypatch.setattr(online_published, "policy_batch", noted)
    posts = scored_posts(240)
    run_round(later_round(tmp_path, tuple(reversed(posts)), config=config_of("ppo")), ignore)
    assert seen == [post.text for post in learning(posts)[-MOST_POSTS:]]


@pytest.mark.parametrize("algorithm", ["reinforce", "ppo", "actor_critic", "dpo", "kto"])
def test_what_was_rolled_back_is_learned_again_and_what_was_not_is_not(tmp_path, algorithm):
    given = later_round(tmp_path, scored_posts(16), config=config_of(algorithm), decisions=people(16))
    first = run_round(replace(given, learned={}), ignore)
    more = replace(given, scored=scored_posts(32), decisions=people(40))
    bad = run_round(
        replace(more, policy=first.model, state=first.state, learned=first.state, workdir=tmp_path / "bad"), ignore
    )
    spoiled = bad.state | {"beta": 9.0, "judged": 4, "thompson": True}
    again = run_round(
        replace(more, policy=first.model, state=spoiled, learned=first.state, workdir=tmp_path / "again"), ignore
    )
    assert again.model is not None
    assert again.state["trained"] == bad.state["trained"]
    assert len(first.state["trained"]) < len(again.state["trained"])
    assert again.state["beta"] == bad.state["beta"]
    assert again.state["judged"] == 4


@pytest.mark.parametrize("algorithm", ["reinforce", "ppo", "dpo"])
def test_a_new_run_of_weights_that_know_the_posts_learns_nothing_twice(tmp_path, algorithm):
    given = later_round(tmp_path, scored_posts(24), config=config_of(algorithm), decisions=people(16))
    first = run_round(given, ignore)
    again = run_round(replace(given, policy=first.model, learned=first.state, workdir=tmp_path / "again"), ignore)
    assert again.model is None
    assert again.state["trained"] == first.state["trained"]


def test_weights_that_no_round_made_know_nothing_and_the_runs_first_price_counts(tmp_path):
    state = {"beta": 9.0, "trained": [post.key for post in scored_posts(24)], "judged": 3, "thompson": True}
    given = later_round(tmp_path, scored_posts(24), config=config_of("ppo"), state=state, hold="of the test")
    held = run_round(replace(given, learned={}), ignore)
    assert (held.state["beta"], held.state["trained"], held.state["judged"]) == (writers.CONFIG.kl_initial, [], 3)
    assert run_round(given, ignore).state["beta"] == 9.0


def test_the_default_round_goes_on_with_the_price_of_its_weights(tmp_path):
    given = later_round(tmp_path, state={"beta": 9.0, "judged": 3}, hold="of the test")
    output = run_round(replace(given, learned={"beta": 0.5, "judged": 0}), ignore)
    assert (output.state["beta"], output.state["judged"]) == (0.5, 3)
