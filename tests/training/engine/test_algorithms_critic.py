import pytest
import torch
from torch.testing import assert_close

from tests.training.engine import writers
from training.engine.algorithms import critic
from training.engine.algorithms.critic import Critic, States, advantages, batch_advantages
from training.engine.models.causal import CausalLanguageModel


def test_generalised_advantages_by_hand():
    # γ = ½, λ = ½, values 1, 2, 3, reward 4 at the end: δ = (½·2 − 1, ½·3 − 2, 4 − 3) = (0, −½, 1);
    # A = (0 − ¼·¼, −½ + ¼·1, 1).
    found = advantages(torch.tensor([0.0, 0.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]), gamma=0.5, decay=0.5)
    assert_close(found, torch.tensor([-0.0625, -0.25, 1.0]), rtol=0, atol=1e-6)


def test_advantages_of_a_batch_are_those_of_each_post():
    values = torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 9.0]])
    inside = torch.tensor([[True, True, True], [True, True, False]])
    found = batch_advantages(torch.tensor([4.0, 2.0]), values, inside)
    assert_close(found[0], advantages(torch.tensor([0.0, 0.0, 4.0]), values[0]))
    assert_close(found[1, :2], advantages(torch.tensor([0.0, 2.0]), values[1, :2]))
    assert float(found[1, 2]) == 0.0
    # The last position by hand: reward − value.
    assert float(found[1, 1]) == 3.0


def one_state():
    """Two posts of a blank page and one token; the first post's token has a state of its own."""
    states = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    return States(states, torch.ones(2, 2, dtype=torch.bool))


def test_a_new_critic_values_everything_at_nothing():
    judge, read = Critic(2), one_state()
    assert judge.improvements(read).tolist() == [0.0, 0.0]
    # With V = 0 the advantage at the last position is the reward.
    assert judge.estimates(read, torch.tensor([2.0, -1.0])).tolist() == [2.0, -1.0]


def test_improvements_are_measured_from_the_blank_page():
    judge = Critic(2)
    with torch.no_grad():
        judge.weight.copy_(torch.tensor([0.7, 0.2]) * 2**0.5)
        judge.bias.fill_(5.0)
    assert_close(judge.improvements(one_state()), torch.tensor([0.5, 0.0]), rtol=0, atol=1e-6)


def test_a_critic_learns_which_words_are_liked(tmp_path):
    model = CausalLanguageModel.load(str(writers.writer_folder()))
    model.compute = torch.float32
    texts = writers.invented_posts(80, seed=4)
    end = model.tokenizer.end_id
    read = critic.read(model, [([end], [*model.tokenizer.encode(text), end]) for text in texts])
    liked = torch.tensor([writers.likes_fruit(text) for text in texts], dtype=torch.float32)
    rewards = (liked - liked.mean()) / liked.std()
    judge = Critic(read.states.shape[-1])
    first, *_, last = (judge.fit(read, rewards) for _ in range(5))
    assert last < first
    ends = judge.values(read).detach()[torch.arange(len(texts)), read.inside.sum(dim=1) - 1]
    assert float(torch.corrcoef(torch.stack([ends, rewards]))[0, 1]) > 0.5
    judge.save(tmp_path)
    again = Critic.load(tmp_path, read.states.shape[-1])
    assert_close(again.values(read), judge.values(read))


def test_a_state_knows_nothing_of_what_comes_after():
    model = CausalLanguageModel.load(str(writers.writer_folder()))
    model.compute = torch.float32
    end = model.tokenizer.end_id
    one, other = (model.tokenizer.encode(text) for text in ("apple bread cloud", "apple bread lemon lemon"))
    read = critic.read(model, [([end], one), ([end], [*other, end])])
    assert_close(read.states[0, :3], read.states[1, :3], rtol=0, atol=1e-5)
    assert read.inside.sum(dim=1).tolist() == [1 + len(one), 2 + len(other)]
    # The end token says nothing of its own.
    assert_close(read.states[1, 1 + len(other)], read.states[1, len(other)])


@pytest.mark.parametrize("folder_has_one", [False, True])
def test_a_model_without_a_critic_gets_a_new_one(tmp_path, folder_has_one):
    if folder_has_one:
        kept = Critic(3)
        with torch.no_grad():
            kept.bias.fill_(2.0)
        kept.save(tmp_path)
    assert Critic.load(tmp_path, 3).bias.item() == (2.0 if folder_has_one else 0.0)
