"""What a round keeps of its steps: nothing that went too far or is not a number, and nothing learned that was not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.engine import writers
from tests.training.engine.test_online_algorithms import config_of, people
from tests.training.engine.test_online_rounds import ignore, later_round, scored_posts, with_config
from training.engine.kl import kl_target
from training.engine.models.causal import CausalLanguageModel
from training.engine.online import run_round

LIMIT = 2 * kl_target(with_config().kl_target, 48)


def drifted(folder, by=0.4):
    """The writer, its weights moved at random."""
    model = CausalLanguageModel.load(str(writers.writer_folder()))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(by * parameter.std() * torch.randn(parameter.shape, generator=generator))
    model.save(folder)
    return folder


def texts(output):
    return [proposal.text for proposal in output.proposals]


@pytest.mark.parametrize("algorithm", ["reward_model_rloo", "ppo"])
def test_steps_that_wreck_the_policy_are_left_out(tmp_path, algorithm):
    config = with_config(algorithm=algorithm, learning_rate=1.0, policy_steps=1)
    output = run_round(later_round(tmp_path, config=config), ignore)
    assert output.model is None
    assert output.metrics["policy_steps"] == 0
    assert output.metrics["kl"] > LIMIT
    (said,) = (decision for decision in output.decisions if "were left out: they took it to" in decision)
    assert said.endswith("The policy stays as it was; lower the learning rate.")
    held = run_round(later_round(tmp_path, config=config, hold="a person looks at it"), ignore)
    assert texts(output) == texts(held)


def test_the_last_step_of_a_round_is_checked_within_it(tmp_path):
    steps = []
    config = with_config(learning_rate=8e-3, policy_steps=1)
    output = run_round(later_round(tmp_path, config=config), ignore)
    assert output.metrics["kl"] > LIMIT
    assert any("pulled back" in decision for decision in output.decisions)
    assert output.metrics["policy_steps"] == 1
    again = later_round(tmp_path, policy=output.model, state=output.state, config=with_config(policy_steps=1))
    run_round(replace(again, workdir=tmp_path / "again"), lambda step, metrics: steps.append(metrics["kl"]))
    assert steps[0] < LIMIT


@pytest.mark.parametrize("algorithm", ["reward_model_rloo", "ppo", "reinforce", "bespo", "kto"])
def test_weights_that_are_not_numbers_are_never_kept(tmp_path, monkeypatch, algorithm):
    honest = torch.optim.Adam.step

    def spoiled(self, *arguments):
        honest(self, *arguments)
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                if parameter.ndim == 2 and len(parameter) == 64:  # positions: no text reaches the last
                    parameter[-1] = torch.nan

    monkeypatch.setattr(torch.optim.Adam, "step", spoiled)
    output = run_round(later_round(tmp_path, config=config_of(algorithm), decisions=people()), ignore)
    assert output.model is None
    assert (output.metrics["policy_steps"], output.metrics["not_finite_steps"]) == (0, 1)
    assert any("not a number" in decision for decision in output.decisions)
    assert output.state["trained"] == []
    assert all(np.isfinite(value) for value in output.metrics.values())
    assert len(output.proposals) == 8


@pytest.mark.parametrize("algorithm", ["ppo", "kto"])
def test_a_hard_stop_before_the_first_step_uses_up_nothing(tmp_path, algorithm):
    config = config_of(algorithm, kl_target=4.0)
    given = later_round(tmp_path, policy=drifted(tmp_path / "drifted"), config=config, decisions=people())
    output = run_round(given, ignore)
    assert output.model is not None
    assert any("pulled back" in decision for decision in output.decisions)
    assert output.metrics["policy_steps"] == 0
    assert output.state["trained"] == []
    more = run_round(replace(given, policy=output.model, state=output.state, workdir=tmp_path / "again"), ignore)
    assert more.metrics["policy_steps"] > 0
    assert more.state["trained"] != []


def test_a_policy_that_began_far_away_is_pulled_until_it_is_near(tmp_path):
    steps = []
    given = later_round(tmp_path, policy=drifted(tmp_path / "drifted", by=3.0))
    output = run_round(given, ignore)
    again = replace(given, policy=output.model, state=output.state, workdir=tmp_path / "again")
    run_round(again, lambda step, metrics: steps.append(metrics["kl"]))
    assert steps[0] < LIMIT


def test_within_the_limit_the_look_at_the_end_changes_nothing(tmp_path, monkeypatch):
    looked = run_round(later_round(tmp_path), ignore)
    saved = CausalLanguageModel.load(str(looked.model)).weights()
    monkeypatch.setattr("training.engine.rounds.Underway.settle", lambda *asked: True)
    blind = run_round(replace(later_round(tmp_path), workdir=tmp_path / "blind"), ignore)
    assert (texts(blind), blind.metrics, blind.state) == (texts(looked), looked.metrics, looked.state)
    weights = CausalLanguageModel.load(str(blind.model)).weights()
    assert all(torch.equal(weights[name], saved[name]) for name in saved)


# What plain rounds share with the others


def test_a_plain_round_reports_what_the_guards_held_back(tmp_path):
    config = with_config(algorithm="reinforce", min_length=200)
    output = run_round(later_round(tmp_path, config=config), ignore)
    assert output.proposals == ()
    assert output.report["guards"]["too_short"]["candidates"] == output.metrics["candidates"]
    assert output.report["guards"]["too_short"]["example"]
    assert "Only 0 of 8 posts passed the guards this round." in output.decisions


def test_every_draw_of_a_plain_round_is_a_candidate(tmp_path):
    given = later_round(
        tmp_path, config=with_config(algorithm="ppo"), stable=writers.writer_folder(), stable_posts=2, baseline_posts=3
    )
    assert run_round(given, ignore).metrics["candidates"] == pytest.approx(4 * (7 + 2 + 3), abs=1)


def test_a_plain_round_calls_for_going_back_once(tmp_path):
    lost = tuple(
        replace(post, reward=(2.0 if place < 96 else 0.0) * (post.arm == "learning") + post.reward / 4)
        for place, post in enumerate(scored_posts(270))
    )
    given = later_round(tmp_path, lost, config=with_config(algorithm="reinforce"), hold="a person looks at it")
    output = run_round(given, ignore)
    assert output.report["rollback"]["reason"] in output.decisions
    assert len(output.report["rollback"]["best_posts"]) == 64
    assert "rollback" not in run_round(replace(given, state=output.state), ignore).report


def test_a_plain_round_tells_of_repeated_posts(tmp_path):
    dull = tuple(replace(post, text=f"apple bread cloud dance {post.text[:5]}") for post in scored_posts())
    config = with_config(algorithm="reinforce")
    output = run_round(later_round(tmp_path, dull, config=config), ignore)
    assert output.metrics["distinct_2_ratio"] < 0.5
    assert any(decision.startswith("Posts repeat themselves") for decision in output.decisions)
    varied = run_round(later_round(tmp_path, config=config, state=output.state), ignore)
    assert varied.metrics["distinct_2_ratio"] > 0.85
    assert not any(decision.startswith("Posts repeat themselves") for decision in varied.decisions)


# Whose posts are compared and watched


def test_a_post_that_no_run_proposed_counts_in_no_arm_and_hides_none(tmp_path):
    posts = tuple(replace(post, lineage="a") for post in scored_posts(100))
    ahead = replace(posts[1], key="ahead", text="orange needle market", lineage="", published_order=100)
    config = with_config(policy_steps=0)
    without = run_round(later_round(tmp_path, posts, lineage="a", config=config), ignore).metrics
    figures = run_round(later_round(tmp_path, (*posts, ahead), lineage="a", config=config), ignore).metrics
    assert (figures["learning_posts"], figures["baseline_posts"]) == (75, 25)
    assert figures["lift"] == pytest.approx(without["lift"], abs=0.1)


def test_a_post_that_no_run_proposed_does_not_keep_a_loss_from_being_seen(tmp_path):
    lost = tuple(
        replace(
            post,
            reward=(2.0 if place < 96 else 0.0) * (post.arm == "learning") + post.reward / 4,
            predicted=None,
            lineage="a",
        )
        for place, post in enumerate(scored_posts(270))
    )
    ahead = replace(lost[1], key="ahead", text="orange needle market", lineage="", published_order=270)
    given = later_round(tmp_path, (*lost, ahead), lineage="a", config=with_config(policy_steps=0))
    assert set(run_round(given, ignore).report["rollback"]["best_posts"]) <= {post.key for post in lost[:96]}


@pytest.mark.parametrize("algorithm", ["reward_model_rloo", "reinforce"])
def test_texts_that_the_learning_arm_did_not_write_say_nothing_of_its_variety(tmp_path, algorithm):
    unscored = ("apple bread cloud dance",) * 40
    given = later_round(tmp_path, config=with_config(algorithm=algorithm, policy_steps=0))
    given = replace(given, published_texts=(*given.published_texts, *unscored))
    assert run_round(given, ignore).metrics["distinct_2_ratio"] < 0.8
    told = run_round(replace(given, other_texts=unscored), ignore)
    assert told.metrics["distinct_2_ratio"] > 0.85
