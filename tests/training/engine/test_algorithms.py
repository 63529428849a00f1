import math

import pytest
import torch
from torch.testing import assert_close

from tests.contracts.algorithm import check_algorithm
from training.engine import algorithms
from training.engine.algorithms import espo, grpo, ppo, reinforce, rloo
from training.engine.algorithms.batch import LossParams, PolicyBatch, divergence, entropy
from training.engine.round_types import ALGORITHM_LABELS, OnlineConfig
from training.engine.scores import window_scale


def batch(logits, tokens, owner, rewards, reference=None, ended=None):
    logits = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    return PolicyBatch(
        logits=logits,
        reference_logits=logits.detach().clone() if reference is None else torch.tensor(reference, dtype=torch.float64),
        tokens=torch.tensor(tokens),
        owner=torch.tensor(owner),
        rewards=torch.tensor(rewards, dtype=torch.float64),
        ended=torch.tensor([True] * len(rewards) if ended is None else ended),
    )


def assert_near(actual, expected, atol=1e-9):
    assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=0, atol=atol)


def test_unknown_algorithms_are_named():
    with pytest.raises(ValueError, match=r"'magic'.*actor_critic, bespo, best_of_n, .*reinforce, reward_model_rloo"):
        algorithms.get("magic")


def test_the_registry_and_the_labels_for_people_name_the_same_algorithms():
    assert set(algorithms.ALGORITHMS) == set(ALGORITHM_LABELS)
    assert {name: each.label for name, each in algorithms.ALGORITHMS.items()} == ALGORITHM_LABELS
    assert next(iter(ALGORITHM_LABELS)) == OnlineConfig().algorithm


def test_what_learns_nothing_has_no_loss():
    with pytest.raises(ValueError, match="has no loss"):
        algorithms.get("best_of_n").loss()


def test_the_original_has_its_own_learning_rate():
    assert algorithms.get("reinforce").learning_rate(7e-5) == 1e-5
    assert algorithms.get("ppo").learning_rate(7e-5) == 7e-5


@pytest.mark.parametrize("name", [name for name in algorithms.ALGORITHMS if name != "best_of_n"])
def test_every_algorithm_keeps_the_contract(name):
    algorithm = algorithms.get(name)
    check_algorithm(algorithm)
    assert algorithm.label == ALGORITHM_LABELS[name]


def test_leave_one_out_by_hand():
    # Means of the others: (2 + 6)/2 = 4, (1 + 6)/2 = 3.5, (1 + 2)/2 = 1.5.
    assert_near(rloo.leave_one_out(torch.tensor([1.0, 2.0, 6.0])), [-3.0, -1.5, 4.5], atol=1e-6)
    assert_near(rloo.leave_one_out(torch.tensor([5.0])), [0.0])


def test_advantages_are_scaled_then_clipped():
    # Root mean square of (3, −4, 0, 0) is 2.5.
    assert_near(rloo.scaled_advantages(torch.tensor([3.0, -4.0, 0.0, 0.0]), clip=1.5), [1.2, -1.5, 0.0, 0.0], atol=1e-6)
    assert_near(rloo.scaled_advantages(torch.zeros(3), clip=3.0), [0.0, 0.0, 0.0])


def test_rloo_by_hand():
    # Two posts of one token each at even odds: advantages ±1, so the loss is −(ln ½ − ln ½)/2 = 0, and its gradient on
    # the written token's logit is −A·(1 − ½)/2.
    given = batch([[0.0, 0.0], [0.0, 0.0]], [0, 1], [0, 1], [2.0, 1.0])
    loss, metrics = rloo.loss(given, LossParams(beta=0.5))
    loss.backward()
    assert_near(loss, 0.0)
    assert_near(given.logits.grad, [[-0.25, 0.25], [-0.25, 0.25]])
    assert metrics == pytest.approx({"loss": 0.0, "kl": 0.0, "entropy": math.log(2)})


def test_rloo_takes_divergence_out_of_the_reward():
    # Equal rewards; the first post's token is twice as likely as under the reference (ln 2 nats), the second's is not.
    policy, reference = [[math.log(0.5), math.log(0.5)]] * 2, [[math.log(0.25), math.log(0.75)], [0.0, 0.0]]
    given = batch(policy, [0, 0], [0, 1], [1.0, 1.0], reference)
    loss, metrics = rloo.loss(given, LossParams(beta=1.0))
    loss.backward()
    assert given.logits.grad[0, 0] > 0 > given.logits.grad[1, 0]
    expected = (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)) / 2
    assert metrics["kl"] == pytest.approx(expected)


def test_rloo_punishes_a_missing_end():
    given = batch([[0.0, 0.0]] * 2, [0, 1], [0, 1], [1.0, 1.0], ended=[True, False])
    rloo.loss(given, LossParams(missing_end_penalty=0.7))[0].backward()
    assert given.logits.grad[0, 0] < 0 < given.logits.grad[1, 1]


def test_rloo_of_equal_rewards_does_not_move():
    given = batch([[0.0, 1.0]] * 2, [0, 0], [0, 1], [1.0, 1.0])
    rloo.loss(given, LossParams())[0].backward()
    assert_near(given.logits.grad, [[0.0, 0.0]] * 2)


def test_divergence_and_entropy_by_hand():
    log_policy = torch.tensor([[0.5, 0.5]]).log()
    assert_near(
        divergence(log_policy, torch.tensor([[0.25, 0.75]]).log()),
        [0.5 * math.log(2) + 0.5 * math.log(2 / 3)],
        atol=1e-6,
    )
    assert_near(entropy(log_policy), [math.log(2)], atol=1e-6)


def test_departure_of_opposites_is_one_and_of_equals_almost_nothing():
    certain, other = torch.tensor([[1 - 1e-7, 1e-7]]).log(), torch.tensor([[1e-7, 1 - 1e-7]]).log()
    assert_near(reinforce.departure(certain, other), 1.0, atol=1e-4)
    assert_near(reinforce.departure(certain, certain), 1e-4, atol=1e-6)


def test_departure_by_hand():
    # P = (1, 0), Q = (½, ½): M = (¾, ¼); JSD₂ = (log₂ 4/3 + ½ log₂ 2/3 + ½ log₂ 2) / 2 = 0.311278.
    log_p, log_q = torch.tensor([[1.0, 1e-30]]).log(), torch.tensor([[0.5, 0.5]]).log()
    assert_near(reinforce.departure(log_p, log_q), math.sqrt(0.311278), atol=1e-5)


def test_entropy_change_by_hand():
    # H = ln 2 against ln 4, over ln 4.
    two, four = torch.tensor([[0.5, 0.5, 1e-30, 1e-30]]).log(), torch.full((1, 4), 0.25).log()
    assert_near(reinforce.entropy_change(two, four), 0.5, atol=1e-5)


def test_reinforce_by_hand():
    # Posts of two tokens and one, all at even odds: −(2·2·ln ½ − 1·ln ½)/2 = 1.5·ln 2, regularisers at their floor.
    given = batch([[0.0, 0.0]] * 3, [0, 1, 1], [0, 0, 1], [2.0, -1.0])
    loss, _ = reinforce.loss(given, LossParams(departure_weight=0.0, entropy_weight=0.0))
    assert_near(loss, 1.5 * math.log(2))
    loss, _ = reinforce.loss(given, LossParams())
    assert_near(loss, 1.5 * math.log(2) + 10 * 1e-4)


class Toy(torch.nn.Module):
    """Writes 3 tokens out of 6, each after a look at the ones before it."""

    def __init__(self):
        super().__init__()
        self.embed, self.read, self.out = torch.nn.Embedding(7, 32), torch.nn.GRU(32, 32), torch.nn.Linear(32, 6)

    def forward(self, tokens):
        """Logits (N, 3, 6) for tokens (N, 3)."""
        before = torch.nn.functional.pad(tokens[:, :-1], (1, 0), value=6)
        return self.out(self.read(self.embed(before).transpose(0, 1))[0].transpose(0, 1))

    @torch.no_grad()
    def write(self, count):
        tokens = torch.zeros(count, 3, dtype=torch.long)
        for place in range(3):
            tokens[:, place] = torch.distributions.Categorical(logits=self(tokens)[:, place]).sample()
        return tokens


def play(loss_function, updates=40):
    """The toy of the original system: the reward is the share of token 0, scaled by the window; 24 samples an update,
    Adam at 1e-2. Mean reward of the first and the last five updates.
    """
    torch.manual_seed(0)
    toy = Toy()
    optimizer = torch.optim.Adam(toy.parameters(), lr=1e-2)
    stream, means = [], []
    for _ in range(updates):
        tokens = toy.write(24)
        rewards = (tokens == 0).float().mean(dim=1)
        stream += rewards.tolist()
        means.append(float(rewards.mean()))
        given = PolicyBatch(
            logits=toy(tokens).reshape(72, 6),
            reference_logits=torch.zeros(72, 6),
            tokens=tokens.reshape(72),
            owner=torch.arange(24).repeat_interleave(3),
            rewards=torch.tensor(window_scale(stream)[-24:], dtype=torch.float32),
            ended=torch.ones(24, dtype=torch.bool),
        )
        optimizer.zero_grad()
        loss_function(given, LossParams(beta=0.0, departure_weight=0.0, entropy_weight=0.0))[0].backward()
        optimizer.step()
    return sum(means[:5]) / 5, sum(means[-5:]) / 5


@pytest.mark.parametrize("loss_function", [rloo.loss, reinforce.loss, ppo.loss, grpo.loss, espo.loss])
def test_all_learn_the_toy_of_the_original(loss_function):
    first, last = play(loss_function)
    # The original's own figures were .25 and 1.00; an untrained toy earns 1/6.
    assert first == pytest.approx(0.25, abs=0.08)
    assert last == pytest.approx(1.0, abs=0.01)
