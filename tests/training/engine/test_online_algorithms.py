"""Every algorithm's round on the small writer, before an audience that likes three words."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.engine import writers
from tests.training.engine.test_online_rounds import ignore, later_round, same_weights, scored_posts, with_config
from training.engine import rounds
from training.engine.algorithms import critic, ppo
from training.engine.algorithms.critic import FILE, Critic
from training.engine.models.causal import CausalLanguageModel
from training.engine.online import run_round
from training.engine.policy import MOMENTS, PolicyTrainer, document_of
from training.engine.types import Decision

PUBLISHED = ["reinforce", "ppo", "actor_critic", "bespo"]
RATES = {"reinforce": 1e-2, "ppo": 3e-3, "actor_critic": 3e-3, "bespo": 1e-3, "grpo": 3e-3, "dpo": 3e-3, "kto": 3e-3}


def config_of(algorithm, **changes):
    rate = RATES.get(algorithm, 1e-3)
    # The original's regularisers pin so small a model to its start: a hundredth lets it move.
    extra = {f"{algorithm}_learning_rate": rate, "departure_weight": 0.1, "entropy_weight": 0.01}
    changes = {"learning_rate": rate, "extra": extra, "kl_target": 60.0, **changes}
    return with_config(algorithm=algorithm, **changes)


def people(count=40, seed=7):
    """Decisions of somebody who wants fruit."""
    texts = writers.invented_posts(count, seed)
    return tuple(Decision(text, "approved" if writers.likes_fruit(text) else "declined") for text in texts)


def taste(folder):
    """How much the audience likes what a model writes."""
    model = CausalLanguageModel.load(str(folder))
    drawn = rounds.draw(model, 300, rounds.sampling(writers.CONFIG, 5))
    return float(np.mean([writers.likes_fruit(sample.text) for sample in drawn]))


@pytest.mark.parametrize("algorithm", ["reinforce", "ppo", "actor_critic", "grpo", "dpo", "kto"])
def test_a_round_moves_the_policy_towards_what_is_liked(tmp_path, algorithm):
    config = config_of(algorithm, policy_steps=8, samples_per_step=48)
    given = later_round(tmp_path, scored_posts(96, noise=0.1), config=config, decisions=people())
    output = run_round(given, ignore)
    assert output.model is not None
    assert taste(output.model) > 1.2 * taste(writers.writer_folder())
    assert len(output.proposals) == 8
    assert all(np.isfinite(value) for value in output.metrics.values())
    assert output.metrics["policy_steps"] >= 1
    assert not any(decision.startswith("No policy step") for decision in output.decisions)


def test_bespo_moves_the_policy_towards_what_its_critic_likes(tmp_path):
    given = later_round(tmp_path, scored_posts(96, noise=0.1), config=config_of("bespo"))
    output = run_round(given, ignore)
    models = [CausalLanguageModel.load(str(folder)) for folder in (writers.writer_folder(), output.model)]
    judge = Critic.load(output.model, 2 * models[0].network.config.hidden_size)
    valued = []
    for model in models:
        drawn = rounds.draw(model, 100, rounds.sampling(writers.CONFIG, 5))
        read = critic.read(models[0], [document_of(model, sample) for sample in drawn if sample.token_ids])
        valued.append(float(judge.improvements(read).mean()))
    assert valued[1] > valued[0] + 0.2
    assert output.metrics["policy_steps"] >= 10


def test_bespo_draws_and_remembers_as_much_as_the_original(tmp_path, monkeypatch):
    """Ten rounds of 32 samples each; beside the new posts, the critic learns from the last 100 earlier ones."""
    drawn, draw = [], rounds.draw

    def counted(model, count, params, *more):
        drawn.append((count, params.seed))
        return draw(model, count, params, *more)

    seen, fit = [], Critic.fit
    monkeypatch.setattr(rounds, "draw", counted)
    monkeypatch.setattr(
        Critic, "fit", lambda self, read, rewards: (seen.append(len(rewards)), fit(self, read, rewards))[1]
    )
    posts = scored_posts(200)  # a quarter of them are the baseline arm's, from which nothing is learned
    state = {"trained": [post.key for post in posts[:160]]}
    run_round(later_round(tmp_path, posts, config=config_of("bespo"), state=state), ignore)
    assert [count == 32 for count, _ in drawn[:11]] == [True] * 10 + [False]
    assert len({seed for _, seed in drawn[:10]}) == 10
    assert seen == [100 + 30]


@pytest.mark.parametrize("algorithm", ["ppo", "actor_critic", "dpo", "kto"])
def test_what_was_learned_from_is_not_learned_from_again(tmp_path, algorithm):
    given = later_round(tmp_path, scored_posts(24), config=config_of(algorithm), decisions=people(16))
    first = run_round(given, ignore)
    again = run_round(replace(given, policy=first.model, state=first.state, workdir=tmp_path / "again"), ignore)
    assert again.model is None
    assert [decision.startswith("No policy step: ") for decision in again.decisions].count(True) == 1


def test_best_of_n_chooses_and_leaves_the_policy_alone(tmp_path):
    output = run_round(later_round(tmp_path, config=config_of("best_of_n")), ignore)
    assert output.model is None
    assert output.metrics["policy_steps"] == 0
    assert sum(bool(proposal.beaten) for proposal in output.proposals) >= 5


@pytest.mark.parametrize("algorithm", ["ppo", "dpo"])
def test_adam_goes_on_in_the_next_round(tmp_path, algorithm):
    given = later_round(tmp_path, scored_posts(24), config=config_of(algorithm), decisions=people(40)[:20])
    first = run_round(given, ignore)
    assert (first.model / MOMENTS).exists()
    more = replace(
        given, policy=first.model, state=first.state, workdir=tmp_path / "b", decisions=people(40),
        scored=scored_posts(48),
    )  # fmt: skip
    outputs = [run_round(more, ignore).model]
    (first.model / MOMENTS).unlink()
    outputs.append(run_round(replace(more, workdir=tmp_path / "c"), ignore).model)
    assert not same_weights(*outputs)


def test_the_critic_is_kept_beside_the_weights_and_learns_on(tmp_path):
    given = later_round(tmp_path, scored_posts(24), config=config_of("bespo"))
    first = run_round(given, ignore)
    width = 2 * CausalLanguageModel.load(str(first.model)).network.config.hidden_size
    before = Critic.load(first.model, width)
    assert bool(before.weight.abs().sum() > 0)
    more = replace(given, policy=first.model, state=first.state, workdir=tmp_path / "b", scored=scored_posts(48))
    outputs = [run_round(more, ignore)]
    (first.model / FILE).unlink()
    outputs.append(run_round(replace(more, workdir=tmp_path / "c"), ignore))
    after = [Critic.load(output.model, width).weight for output in outputs]
    assert not torch.equal(after[0], after[1])
    assert not torch.equal(after[0], before.weight)
    assert outputs[0].metrics["value_loss"] != outputs[1].metrics["value_loss"]


@pytest.mark.parametrize(
    ("algorithm", "first_bad"), [("reinforce", 0), ("ppo", 0), ("ppo", 1), ("bespo", 1), ("dpo", 1)]
)
def test_a_loss_that_is_not_a_number_leaves_the_policy_as_it_was(tmp_path, monkeypatch, algorithm, first_bad):
    given = later_round(tmp_path, scored_posts(24), config=config_of(algorithm), decisions=people(40))
    made = PolicyTrainer.__init__

    def spoiled(self, *arguments, **named):
        made(self, *arguments, **named)
        honest, count = self._loss, iter(range(1000))

        def loss(batch, params):
            value, metrics = honest(batch, params)
            return (value, metrics | {"loss": float("nan")}) if next(count) >= first_bad else (value, metrics)

        self._loss = loss

    monkeypatch.setattr(PolicyTrainer, "__init__", spoiled)
    output = run_round(given, ignore)
    assert output.model is None
    assert output.decisions[0].startswith("No policy step: its loss or gradient was not a number.")
    untouched = run_round(replace(given, scored=(), decisions=()), ignore)
    if algorithm in PUBLISHED:
        assert [p.text for p in output.proposals] == [p.text for p in untouched.proposals]
    assert all(np.isfinite(value) for value in output.metrics.values())


@pytest.mark.parametrize("algorithm", PUBLISHED)
def test_equal_scores_are_kept_until_one_differs(tmp_path, algorithm):
    posts = tuple(replace(post, reward=2.0) for post in scored_posts(16))
    output = run_round(later_round(tmp_path, posts, config=config_of(algorithm)), ignore)
    assert "No policy step: all 16 scores are equal, so there is nothing to learn from yet." in output.decisions
    assert (output.model, output.state["trained"], len(output.proposals)) == (None, [], 8)
    differing = (replace(posts[0], reward=3.0), *posts[1:])
    again = later_round(tmp_path, differing, config=config_of(algorithm), state=output.state)
    assert len(run_round(again, ignore).state["trained"]) == 12


@pytest.mark.parametrize("algorithm", ["reinforce", "ppo"])
def test_one_viral_post_breaks_nothing(tmp_path, algorithm):
    posts = tuple(replace(post, reward=1e9) if post.key == "3" else post for post in scored_posts(32))
    output = run_round(later_round(tmp_path, posts, config=config_of(algorithm)), ignore)
    assert output.model is not None
    assert all(np.isfinite(value) for value in output.metrics.values())
    assert len(output.proposals) == 8


def test_ppos_steps_are_left_out_when_it_leaps_away(tmp_path):
    config = config_of("ppo", kl_target=0.01, learning_rate=3e-2, extra={})
    output = run_round(later_round(tmp_path, config=config), ignore)
    assert output.model is None
    assert "were left out" in output.decisions[0]


def test_ppo_adapts_the_price_of_divergence(tmp_path, monkeypatch):
    seen = []
    honest = ppo.loss
    monkeypatch.setattr(ppo, "loss", lambda batch, params: (seen.append(params.beta), honest(batch, params))[1])
    output = run_round(later_round(tmp_path, config=config_of("ppo"), state={"beta": 0.5}), ignore)
    assert seen == [0.5] * 4
    assert output.state["beta"] < 0.5


@pytest.mark.parametrize("algorithm", ["ppo", "bespo"])
def test_a_version_on_trial_stays_as_it_is_beside_the_stable_one(tmp_path, algorithm):
    given = later_round(
        tmp_path,
        scored_posts(16),
        config=config_of(algorithm),
        decisions=people(),
        hold="a version is on trial",
        stable=writers.writer_folder(),
        stable_posts=3,
    )
    output = run_round(given, ignore)
    assert output.model is None
    assert output.decisions[0] == "No policy step: a version is on trial."
    assert [p.speaker for p in output.proposals] == ["policy"] * 7 + ["stable"] * 3 + ["reference"]
    assert [p.arm for p in output.proposals] == ["learning"] * 10 + ["baseline"]
    assert len({p.text for p in output.proposals}) == 11


def test_dpo_without_scores_publishes_plain_samples_and_with_them_chosen_ones(tmp_path):
    plain = run_round(later_round(tmp_path, (), config=config_of("dpo"), decisions=people()), ignore)
    assert plain.model is not None
    assert {proposal.predicted for proposal in plain.proposals} == {None}
    chosen = run_round(later_round(tmp_path, config=config_of("dpo"), decisions=people()), ignore)
    assert sum(bool(proposal.beaten) for proposal in chosen.proposals) >= 5
