import numpy as np
import pytest

from training.engine.guards import Guard, TextIndex
from training.engine.selection import (
    Candidate,
    Variety,
    choose,
    choose_plain,
    distinct_ratio,
    spread_out,
)
from training.engine.types import Sample


def sample(text, ended=True):
    return Sample(text=text, token_ids=(1,), logprob=-1.0, ended=ended)


def guard(training=(), published=()):
    return Guard(TextIndex(training), TextIndex(published), min_length=5, max_length=100)


def pick(texts, values, count, price=0.0, recent=(), **rules):
    candidates = [Candidate(sample(text), value, 0.1) for text, value in zip(texts, values, strict=True)]
    choices = choose(candidates, spread_out(np.array(values), count), guard(**rules), recent, price)
    return [choice.candidate.sample.text for choice in choices], choices


TEXTS = ["red apples fall down", "blue rivers run deep", "green fields lie still", "white clouds drift by"]


def test_the_best_are_chosen_and_know_whom_they_beat():
    texts, choices = pick(TEXTS, [0.1, 0.9, 0.5, 0.3], 2)
    assert texts == [TEXTS[1], TEXTS[2]]
    assert [beaten.sample.text for beaten in choices[0].beaten] == [TEXTS[2], TEXTS[3], TEXTS[0]]
    assert [beaten.sample.text for beaten in choices[1].beaten] == [TEXTS[3], TEXTS[0]]


def test_what_the_guard_objects_to_is_passed_over():
    assert pick(TEXTS, [4, 3, 2, 1], 2, published=[TEXTS[0]], training=[TEXTS[2]])[0] == [TEXTS[1], TEXTS[3]]


def test_the_batch_does_not_repeat_itself():
    assert pick([TEXTS[0], TEXTS[0] + "!", TEXTS[1]], [3, 2, 1], 3)[0] == [TEXTS[0], TEXTS[1]]


def test_echoes_have_a_price():
    # "red apples" and "apples fall" of three pairs were said before: worth 1 − 0.9·2/3 = 0.4, less than 0.5.
    echo, new = "red apples fall softly", "blue rivers run deep"
    assert pick([echo, new], [1.0, 0.5], 1, price=0.9, recent=["red apples fall down"])[0] == [new]
    assert pick([echo, new], [1.0, 0.5], 1, price=0.7, recent=["red apples fall down"])[0] == [echo]


def test_each_post_is_chosen_by_its_own_row_of_worth():
    candidates = [Candidate(sample(text), 0.0, 1.0) for text in TEXTS[:3]]
    rows = np.array([[0, 1, 0], [1, 0, 0.5]])
    chosen = choose(candidates, rows, guard(), (), 0.0)
    assert [choice.candidate.sample.text for choice in chosen] == [TEXTS[1], TEXTS[0]]


def test_plain_choice_keeps_the_order_of_the_draw():
    drawn = [sample("cut off in the", ended=False), *map(sample, TEXTS)]
    assert [kept.text for kept in choose_plain(drawn, 2, guard(training=[TEXTS[0]]))] == TEXTS[1:3]


@pytest.mark.parametrize(("ratio", "price"), [(0.9, 1.0), (0.8, np.exp(0.4)), (1.0, np.exp(-0.4)), (0.1, np.e)])
def test_the_price_of_echoes_follows_the_measure(ratio, price):
    assert Variety(price=1.0).update(ratio).price == pytest.approx(price)


def test_the_price_stays_within_its_bounds():
    assert Variety(price=8.0).update(0.0).price == 8.0
    assert Variety(price=0.3).update(1.0).price == 0.3


def test_distinct_ratio_compares_equal_set_sizes():
    reference = [f"word{n} other{n} third{n}" for n in range(200)]
    assert distinct_ratio(["a b c", "a b d"], reference) == pytest.approx(0.75)
    assert distinct_ratio([], reference) == 1.0
    assert distinct_ratio(["a b c"] * 500 + [f"x{n} y{n}" for n in range(64)], reference) == 1.0
