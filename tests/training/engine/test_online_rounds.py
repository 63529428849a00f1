import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.engine import writers
from training.engine import online_reward_model, policy, rounds
from training.engine.models.causal import CausalLanguageModel
from training.engine.online import run_round
from training.engine.round_types import ScoredPost
from training.engine.types import Decision, HistoricPost, LengthLimit

METRICS = {
    "reward_mean", "reward_sd", "baseline_mean", "lift", "lift_low", "lift_high", "kl", "beta", "entropy", "distinct_2",
    "self_bleu", "duplicate_rate", "memorised_rate", "reward_model_correlation", "reward_model_slope", "candidates",
    "policy_steps", "loss",
}  # fmt: skip


def ignore(step, metrics):
    pass


def scored_posts(count=48, predicts=True, seed=11, noise=0.3):
    """Posts with the audience's noisy opinion; every fourth is of the baseline arm."""
    rng = np.random.default_rng(seed)
    texts = writers.invented_posts(count, seed)
    return tuple(
        ScoredPost(
            key=str(place),
            text=text,
            arm="baseline" if place % 4 == 0 else "learning",
            reward=writers.likes_fruit(text) + noise * float(rng.standard_normal()),
            hour_of_week=int(rng.integers(168)),
            published_order=place,
            predicted=(2 if predicts else -2) * writers.likes_fruit(text),
        )
        for place, text in enumerate(texts)
    )


def later_round(tmp_path, scored=None, **changes):
    scored = scored_posts() if scored is None else scored
    texts = tuple(post.text for post in scored)
    return writers.round_input(
        tmp_path / "round", cache=tmp_path / "cache", number=3, scored=scored, published_texts=texts, **changes
    )


def with_config(**changes):
    return replace(writers.CONFIG, **changes)


def same_weights(first, second):
    pair = [CausalLanguageModel.load(str(folder)).weights() for folder in (first, second)]
    return all(torch.equal(pair[0][name], pair[1][name]) for name in pair[0])


@pytest.mark.parametrize("algorithm", ["reward_model_rloo", "reinforce"])
def test_the_first_round_only_proposes(tmp_path, algorithm):
    given = writers.round_input(tmp_path, config=with_config(algorithm=algorithm))
    output = run_round(given, ignore)
    assert output.model is None
    assert [proposal.arm for proposal in output.proposals] == ["learning"] * 7 + ["baseline"]
    assert output.metrics["policy_steps"] == 0
    assert output.decisions[0].startswith("No policy step: ")
    assert not (tmp_path / "model").exists()


def test_the_first_round_already_follows_the_history(tmp_path):
    given = writers.round_input(tmp_path, history=writers.history(400), learning_posts=10, baseline_posts=10)
    output = run_round(replace(given, config=with_config(candidates_per_post=12)), ignore)
    arms = {
        arm: np.mean([writers.likes_fruit(p.text) for p in output.proposals if p.arm == arm])
        for arm in ("learning", "baseline")
    }
    assert arms["learning"] > arms["baseline"] + 0.5


def test_a_round_learns_and_reports_every_figure(tmp_path):
    steps = []
    output = run_round(later_round(tmp_path), lambda step, metrics: steps.append((step, set(metrics))))
    assert output.model == tmp_path / "round" / "model"
    assert not same_weights(output.model, writers.writer_folder())
    assert output.metrics.keys() >= METRICS
    assert all(np.isfinite(value) for value in output.metrics.values())
    assert steps == [(0, {"loss", "kl", "entropy"}), (1, {"loss", "kl", "entropy"})]
    assert output.metrics["policy_steps"] == 2
    assert output.metrics["candidates"] == pytest.approx(7 * 6 + 4, abs=1)


def test_proposals_carry_their_provenance(tmp_path):
    output = run_round(later_round(tmp_path), ignore)
    history = {post.text for post in writers.history()}
    best = [proposal for proposal in output.proposals if proposal.beaten]
    assert len(output.proposals) == 8
    assert len(best) >= 5
    for proposal in output.proposals:
        assert proposal.predicted is not None
        assert proposal.predicted_sd is not None
        assert proposal.predicted_sd > 0
        assert proposal.logprob < 0
        assert (proposal.nearest_text in history) is (proposal.shared_run > 0)
        assert proposal.shared_run < len(proposal.text)
    assert sum(proposal.shared_run > 0 for proposal in output.proposals) >= 5


def test_each_proposal_can_be_drawn_again_from_its_provenance(tmp_path):
    given = later_round(tmp_path, config=with_config(policy_steps=0))
    model = CausalLanguageModel.load(str(given.policy))
    for proposal in run_round(given, ignore).proposals:
        drawn = model.generate([""] * 64, proposal.sampling)
        assert proposal.text in {sample.text for sample in drawn}


def test_the_same_round_twice_is_the_same(tmp_path):
    outputs = []
    for name in ("first", "second"):
        rounds._benches.clear()
        given = later_round(tmp_path, state={"beta": 0.05, "price": 1.0})
        outputs.append(run_round(replace(given, workdir=tmp_path / name, cache=tmp_path / name), ignore))
    assert outputs[0].proposals == outputs[1].proposals
    assert outputs[0].metrics == outputs[1].metrics
    assert outputs[0].state == outputs[1].state
    assert same_weights(outputs[0].model, outputs[1].model)


def test_another_seed_is_another_round(tmp_path):
    texts = [
        {proposal.text for proposal in run_round(later_round(tmp_path, seed=seed), ignore).proposals} for seed in (1, 2)
    ]
    assert texts[0] != texts[1]


def test_the_state_is_plain_json_and_carries_on(tmp_path):
    first = run_round(later_round(tmp_path), ignore)
    stored = json.loads(json.dumps(first.state)) | {"of_another_version": 1}
    assert first.state["beta"] != writers.CONFIG.kl_initial
    second = run_round(later_round(tmp_path, state=stored, config=with_config(policy_steps=0)), ignore)
    assert second.state["beta"] == first.state["beta"]


def test_a_failed_check_means_no_policy_step_but_posts_are_still_chosen(tmp_path):
    output = run_round(later_round(tmp_path, scored_posts(predicts=False)), ignore)
    assert output.model is None
    assert output.metrics["reward_model_correlation"] < 0
    assert any("were not borne out" in decision for decision in output.decisions)
    assert sum(bool(proposal.beaten) for proposal in output.proposals) >= 5


def test_what_the_guards_held_back_is_reported_with_examples(tmp_path):
    output = run_round(later_round(tmp_path, config=with_config(max_new_tokens=12)), ignore)
    guards = output.report["guards"]
    json.dumps(guards)
    assert guards["cut_off"]["candidates"] > 0
    assert guards["cut_off"]["example"]
    assert any(decision.endswith(" cut off in the middle.") or "cut off" in decision for decision in output.decisions)


def test_what_people_declined_is_not_proposed_again(tmp_path):
    proposed = [proposal.text for proposal in run_round(later_round(tmp_path), ignore).proposals]
    declined = tuple(Decision(text, "declined") for text in proposed)
    again = run_round(later_round(tmp_path, decisions=declined), ignore)
    assert len(again.proposals) == 8
    assert not set(proposed) & {proposal.text for proposal in again.proposals}


def test_the_platforms_limit_holds_for_every_arm(tmp_path):
    limit = LengthLimit(80, count=lambda text: 2 * len(text))
    given = later_round(tmp_path, limit=limit, baseline_posts=2, config=with_config(candidates_per_post=24))
    output = run_round(given, ignore)
    assert {proposal.arm for proposal in output.proposals} == {"learning", "baseline"}
    assert all(len(proposal.text) <= 40 for proposal in output.proposals)
    assert output.report["guards"]["cut_off"]["candidates"] > 20


def test_while_a_version_is_on_trial_the_stable_one_writes_beside_it(tmp_path):
    given = later_round(
        tmp_path, learning_posts=4, stable=writers.writer_folder(), stable_posts=3, config=with_config(policy_steps=0)
    )
    output = run_round(given, ignore)
    assert [(p.arm, p.speaker) for p in output.proposals].count(("learning", "stable")) == 3
    assert [(p.arm, p.speaker) for p in output.proposals].count(("learning", "policy")) == 4
    assert [p.speaker for p in output.proposals if p.arm == "baseline"] == ["reference"]
    assert all(proposal.beaten for proposal in output.proposals if proposal.arm == "learning")
    assert len({proposal.text for proposal in output.proposals}) == 8


def test_a_lasting_loss_calls_for_going_back_once(tmp_path):
    lost = tuple(
        replace(post, reward=(2.0 if place < 96 else 0.0) * (post.arm == "learning") + post.reward / 4, predicted=None)
        for place, post in enumerate(scored_posts(270))
    )
    given = later_round(tmp_path, lost, config=with_config(policy_steps=0))
    output = run_round(given, ignore)
    answer = output.report["rollback"]
    assert answer["reason"] in output.decisions
    assert len(answer["best_posts"]) == 64
    assert set(answer["best_posts"]) <= {post.key for post in lost[:96]}
    assert "rollback" not in run_round(replace(given, state=output.state), ignore).report


def test_when_nothing_passes_the_guards_the_round_says_so(tmp_path):
    output = run_round(later_round(tmp_path, config=with_config(min_length=200, policy_steps=0)), ignore)
    assert output.proposals == ()
    assert output.report["guards"]["too_short"]["candidates"] == output.metrics["candidates"]
    assert "Only 0 of 8 posts passed the guards this round." in output.decisions


def test_a_policy_that_writes_nothing_takes_no_step(tmp_path, monkeypatch):
    monkeypatch.setattr(online_reward_model, "_drawn", lambda *asked: [])
    output = run_round(later_round(tmp_path), ignore)
    assert output.model is None
    assert any("wrote nothing to learn from" in decision for decision in output.decisions)
    assert len(output.proposals) == 8


def test_equal_scores_are_said_to_teach_nothing(tmp_path):
    posts = tuple(replace(post, reward=2.0) for post in scored_posts())
    output = run_round(later_round(tmp_path, posts), ignore)
    assert output.model is None
    assert output.decisions[0] == ("No policy step: all 48 scores are equal, so there is nothing to learn from yet.")
    assert output.metrics["equal_scores"] == 48
    assert not {"lift", "reward_low", "baseline_low", "reward_model_correlation"} & output.metrics.keys()


def test_one_viral_post_among_equal_ones_is_no_lift(tmp_path):
    posts = tuple(replace(post, reward=10.0 if post.key == "3" else 2.0) for post in scored_posts())
    output = run_round(later_round(tmp_path, posts), ignore)
    metrics = output.metrics
    assert "equal_scores" not in metrics
    assert metrics["reward_mean"] == pytest.approx(3 / 36)
    assert metrics["baseline_mean"] == 0
    assert metrics["lift_low"] < 0 < metrics["lift"] < metrics["lift_high"]


@pytest.mark.parametrize("history", [(), tuple(HistoricPost(post.text, 1.0) for post in writers.history())])
def test_a_history_that_says_nothing_is_no_obstacle(tmp_path, history):
    output = run_round(later_round(tmp_path, scored_posts(1), history=history), ignore)
    assert len(output.proposals) == 8
    assert all(np.isfinite(number) for number in output.metrics.values())


def test_without_history_the_policy_waits_for_64_scores(tmp_path):
    few = run_round(later_round(tmp_path, scored_posts(60), history=()), ignore)
    assert few.decisions[0] == "No policy step: 60 posts have a score, at least 64 are needed."
    enough = run_round(later_round(tmp_path, scored_posts(64), history=()), ignore)
    assert enough.metrics["policy_steps"] == 2


def test_a_policy_that_drifted_is_pulled_back(tmp_path):
    drifted = CausalLanguageModel.load(str(writers.writer_folder()))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in drifted.network.parameters():
            parameter.add_(0.4 * parameter.std() * torch.randn(parameter.shape, generator=generator))
    drifted.save(tmp_path / "drifted")
    output = run_round(later_round(tmp_path, policy=tmp_path / "drifted"), ignore)
    target = 4.0 * (48 + 32) / 256
    assert output.metrics["kl"] > 2 * target
    assert any("pulled back" in decision for decision in output.decisions)
    steps = []
    again = later_round(tmp_path, policy=output.model, state=output.state)
    run_round(replace(again, workdir=tmp_path / "again"), lambda step, metrics: steps.append(metrics["kl"]))
    assert 0.2 * target < steps[0] < 2 * target


def test_a_loss_that_is_not_a_number_keeps_the_policy(tmp_path, monkeypatch):
    monkeypatch.setattr(online_reward_model, "_worth", lambda now, samples: [float("nan")] * len(samples))
    output = run_round(later_round(tmp_path), ignore)
    assert output.model is None
    assert any("was not a number" in decision for decision in output.decisions)
    assert len(output.proposals) == 8


def test_repeated_posts_narrow_the_policy_and_widen_the_choice(tmp_path):
    dull = tuple(replace(post, text=f"apple bread cloud dance {post.text[:5]}") for post in scored_posts())
    output = run_round(later_round(tmp_path, dull), ignore)
    assert output.state["thompson"] is True
    assert output.state["kl_factor"] == 0.5
    assert output.metrics["distinct_2_ratio"] < 0.5
    assert any(decision.startswith("Posts repeat themselves") for decision in output.decisions)
    varied = run_round(later_round(tmp_path, state=output.state), ignore)
    assert (varied.state["thompson"], varied.state["kl_factor"]) == (False, 1.0)


@pytest.mark.parametrize("rewards", ["equal", "missing", "extreme"])
def test_odd_rewards_break_nothing(tmp_path, rewards):
    value = {"equal": 2.0, "missing": float("nan"), "extreme": 1e9}[rewards]
    posts = tuple(
        replace(post, reward=value if rewards != "extreme" or post.key == "3" else post.reward)
        for post in scored_posts()
    )
    output = run_round(later_round(tmp_path, posts), ignore)
    assert len(output.proposals) == 8
    assert all(np.isfinite(number) for number in output.metrics.values())


def test_reinforce_trains_on_each_published_post_once(tmp_path, monkeypatch):
    seen = []
    taken = policy.PolicyTrainer.step

    def watch(self, samples, rewards, params):
        seen.append(([sample.text for sample in samples], list(rewards)))
        return taken(self, samples, rewards, params)

    monkeypatch.setattr(policy.PolicyTrainer, "step", watch)
    config = with_config(algorithm="reinforce")
    posts = scored_posts(12)
    first = run_round(later_round(tmp_path, posts[:8], config=config), ignore)
    second = run_round(later_round(tmp_path, posts, config=config, state=first.state), ignore)
    third = run_round(later_round(tmp_path, posts, config=config, state=second.state), ignore)
    learning = [post.text for post in posts if post.arm == "learning"]
    assert [texts for texts, _ in seen] == [learning[:6], learning[6:]]
    assert seen[0][1][0] == 0.0
    assert first.model is not None
    assert third.model is None
    assert third.decisions[0] == "No policy step: no new scores."


def test_reinforce_publishes_plain_samples(tmp_path):
    output = run_round(later_round(tmp_path, config=with_config(algorithm="reinforce")), ignore)
    assert len(output.proposals) == 8
    assert {(proposal.predicted, proposal.beaten) for proposal in output.proposals} == {(None, ())}


def test_unknown_algorithms_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Unknown algorithm 'magic'"):
        run_round(writers.round_input(tmp_path, config=with_config(algorithm="magic")), ignore)


def test_score_metrics_by_hand():
    posts = scored_posts(16)
    rewards = np.where([post.arm == "baseline" for post in posts], -1.0, 2.0)
    metrics = rounds.score_metrics(posts, rewards, "")
    assert (metrics["reward_mean"], metrics["baseline_mean"], metrics["reward_sd"]) == (2.0, -1.0, 0.0)
    assert "lift" not in metrics
    more = rounds.score_metrics(posts * 2, np.concatenate([rewards + 0.5, rewards - 0.5]), "")
    assert more["lift"] == pytest.approx(3.0)
    assert 0 < more["lift_low"] < 3 < more["lift_high"] < 6


def test_the_arms_are_compared_within_one_lineage():
    """Posts of an earlier fine-tuning had another baseline: what they scored is no lift of this one."""
    earlier = [replace(post, lineage="earlier") for post in scored_posts(32)]
    later = [replace(post, lineage="later", published_order=post.published_order + 32) for post in scored_posts(40)]
    noise = np.random.default_rng(0).standard_normal(72)
    alone = rounds.score_metrics(later, noise[32:], "later")
    assert rounds.score_metrics([*earlier, *later], noise, "later") == alone
    assert alone["learning_posts"] + alone["baseline_posts"] == 40


def test_policy_steps_move_the_policy_towards_what_is_liked(tmp_path):
    config = with_config(samples_per_step=64, policy_steps=8, kl_target=60.0)
    given = later_round(tmp_path, scored_posts(96, noise=0.1), config=config)
    output = run_round(given, ignore)
    liked = [
        np.mean([writers.likes_fruit(s.text) for s in rounds.draw(model, 300, rounds.sampling(given.config, 5))])
        for model in map(CausalLanguageModel.load, map(str, (writers.writer_folder(), output.model)))
    ]
    assert liked[1] > 1.3 * liked[0]
