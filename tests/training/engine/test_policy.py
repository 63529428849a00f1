import math

import pytest
import torch
from torch.testing import assert_close

from tests.training.engine import writers
from training.engine import algorithms
from training.engine.algorithms.batch import LossParams
from training.engine.models.causal import CausalLanguageModel
from training.engine.policy import PolicyTrainer, policy_batch, published_sample
from training.engine.types import SamplingParams


@pytest.fixture
def models():
    loaded = [CausalLanguageModel.load(str(writers.writer_folder())) for _ in range(2)]
    for model in loaded:
        model.compute = torch.float32
    return loaded


def samples_of(model, count=6):
    return model.generate([""] * count, SamplingParams(max_new_tokens=20, seed=3))


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.network.parameters()])


def trainer_of(models, name="reward_model_rloo", learning_rate=1e-3):
    return PolicyTrainer(*models, algorithms.get(name), learning_rate, clip_norm=1.0)


def test_the_batch_holds_what_the_models_say_of_each_written_token(models):
    samples = samples_of(models[0])
    given = policy_batch(*models, samples, [0.0] * len(samples))
    log_probs = torch.log_softmax(given.logits, dim=1).gather(1, given.tokens[:, None])[:, 0]
    expected = torch.tensor([sample.logprob for sample in samples])
    assert_close(given.per_post(log_probs).detach(), expected, rtol=0, atol=1e-3)
    assert_close(given.logits.detach(), given.reference_logits)
    assert given.logits.requires_grad
    assert not given.reference_logits.requires_grad
    assert given.ended.tolist() == [sample.ended for sample in samples]


def test_a_prompt_is_read_but_not_judged(models):
    plain, prompted = models[0].generate(["", "apple bread"], SamplingParams(max_new_tokens=6, seed=3))
    given = policy_batch(*models, [plain, prompted], [0.0, 0.0])
    own = [len(sample.token_ids) + sample.ended for sample in (plain, prompted)]
    assert given.owner.bincount().tolist() == own
    log_probs = torch.log_softmax(given.logits.detach(), dim=1).gather(1, given.tokens[:, None])[:, 0]
    assert float(given.per_post(log_probs)[1]) == pytest.approx(prompted.logprob, abs=1e-3)


def lead_of_first(models, samples):
    """How much more probable the first post is than the others on average, in nats."""
    given = policy_batch(*models, samples, [0.0] * len(samples))
    log_probs = torch.log_softmax(given.logits.detach(), dim=1).gather(1, given.tokens[:, None])[:, 0]
    posts = given.per_post(log_probs)
    return float(posts[0] - posts[1:].mean())


@pytest.mark.parametrize("name", ["reward_model_rloo", "reinforce"])
def test_steps_make_rewarded_posts_more_probable_than_others(models, name):
    trainer, samples = trainer_of(models, name), samples_of(models[0])
    before = lead_of_first(models, samples)
    rewards = [1.0] + [-1.0] * (len(samples) - 1)
    for _ in range(3):
        assert trainer.step(samples, rewards, LossParams(departure_weight=0.1)).outcome == "taken"
    assert lead_of_first(models, samples) > before + 1.0
    assert trainer.steps == 3


def test_a_policy_too_far_away_takes_no_step(models):
    trainer, samples = trainer_of(models, learning_rate=1e-2), samples_of(models[0])
    rewards = [float(number) for number in range(len(samples))]
    trainer.step(samples, rewards, LossParams())
    before = weights_of(models[0])
    step = trainer.step(samples, rewards, LossParams(), kl_target=0.5e-6)
    assert step.outcome == "too_far"
    assert step.metrics["kl"] > 1e-6
    assert_close(weights_of(models[0]), before)


def test_a_loss_that_is_not_a_number_leaves_the_weights_alone(models):
    trainer, samples = trainer_of(models, "reinforce"), samples_of(models[0])
    before = weights_of(models[0])
    step = trainer.step(samples, [math.nan] * len(samples), LossParams())
    assert step.outcome == "not_finite"
    assert_close(weights_of(models[0]), before)
    assert trainer.steps == 0


def test_a_gradient_that_is_not_a_number_leaves_the_weights_alone(models):
    trainer, samples = trainer_of(models), samples_of(models[0])
    before = weights_of(models[0])
    next(models[0].network.parameters()).register_hook(lambda gradient: gradient * math.inf)
    assert trainer.step(samples, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], LossParams()).outcome == "not_finite"
    assert_close(weights_of(models[0]), before)


def test_moving_towards_the_reference_goes_the_share_of_the_way(models):
    frozen = weights_of(models[1])
    with torch.no_grad():
        for parameter in models[0].network.parameters():
            parameter.add_(1.0)
    trainer_of(models).move_towards_reference(0.25)
    assert_close(weights_of(models[0]), frozen + 0.25, rtol=0, atol=1e-5)


def test_a_published_text_becomes_the_sample_it_was(models):
    written = published_sample(models[0], "apple bread cloud", 40)
    assert (models[0].tokenizer.decode(written.token_ids), written.ended) == ("apple bread cloud", True)
    cut = published_sample(models[0], "apple bread cloud", 2)
    assert (len(cut.token_ids), cut.ended) == (2, False)


def test_steps_on_one_batch_measure_ratios_from_before_the_first(models):
    trainer, samples = trainer_of(models, "ppo"), samples_of(models[0])
    batch = policy_batch(*models, samples, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    steps = trainer.steps_on(batch, LossParams(), 3)
    assert [step.outcome for step in steps] == ["taken"] * 3
    changes = [step.metrics["ratio_change"] for step in steps]
    assert changes[0] == 0.0
    assert 0.0 < changes[1] < changes[2]
    assert trainer.steps == 3


def test_steps_on_one_batch_end_when_it_is_enough(models):
    trainer = trainer_of(models, "ppo")
    batch = policy_batch(*models, samples_of(models[0]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    steps = trainer.steps_on(batch, LossParams(), 25, enough=lambda metrics: metrics["ratio_change"] > 0.05)
    assert steps[-1].outcome == "enough"
    assert steps[-1].metrics["ratio_change"] > 0.05
    assert len(steps) == trainer.steps + 1 < 25


def test_moments_that_were_kept_are_gone_on_from(models, tmp_path):
    trainer, samples = trainer_of(models), samples_of(models[0])
    rewards = [float(number) for number in range(len(samples))]
    trainer.step(samples, rewards, LossParams())
    trainer.keep(tmp_path)
    start = weights_of(models[0])
    trainer.step(samples, rewards, LossParams())
    ahead = weights_of(models[0])
    again = trainer_of(models)
    again.resume(tmp_path)
    torch.nn.utils.vector_to_parameters(start, models[0].network.parameters())
    again.step(samples, rewards, LossParams())
    assert_close(weights_of(models[0]), ahead, rtol=0, atol=1e-6)


def test_a_model_without_moments_begins_anew(models, tmp_path):
    fresh, resumed = trainer_of(models), trainer_of(models)
    start, samples = weights_of(models[0]), samples_of(models[0])
    rewards = [float(number) for number in range(len(samples))]
    fresh.step(samples, rewards, LossParams())
    ahead = weights_of(models[0])
    torch.nn.utils.vector_to_parameters(start, models[0].network.parameters())
    resumed.resume(tmp_path)
    resumed.step(samples, rewards, LossParams())
    assert torch.equal(weights_of(models[0]), ahead)
