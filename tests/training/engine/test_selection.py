import numpy as np
import pytest

from training.engine.guards import Guard, TextIndex
from training.engine.selection import (
    DEAREST,
    Candidate,
    Variety,
    alternating,
    choose,
    choose_plain,
    choose_varied,
    spread_out,
)
from training.engine.types import Sample


def sample(text, ended=True):
    return Sample(text=text, token_ids=(1,), logprob=-1.0, ended=ended)


def guard(training=(), published=()):
    return Guard(TextIndex(training), TextIndex(published), min_length=5, max_length=100)


def candidates_of(texts, values):
    return [Candidate(sample(text), value, 0.1) for text, value in zip(texts, values, strict=True)]


def pick(texts, values, count, price=0.0, said=(), **rules):
    found = choose(candidates_of(texts, values), spread_out(np.array(values), count), guard(**rules), said, price)
    return [choice.candidate.sample.text for choice in found], found


TEXTS = ["red apples fall down", "blue rivers run deep", "green fields lie still", "white clouds drift by"]


def test_the_best_are_chosen_and_know_whom_they_beat():
    texts, choices = pick(TEXTS, [0.1, 0.9, 0.5, 0.3], 2)
    assert texts == [TEXTS[1], TEXTS[2]]
    assert [beaten.sample.text for beaten in choices[0].beaten] == [TEXTS[2], TEXTS[3], TEXTS[0]]
    assert [beaten.sample.text for beaten in choices[1].beaten] == [TEXTS[3], TEXTS[0]]


def test_what_was_published_is_passed_over():
    assert pick(TEXTS, [4, 3, 2, 1], 2, published=[TEXTS[0]])[0] == [TEXTS[1], TEXTS[2]]


def test_the_batch_does_not_repeat_itself():
    assert pick([TEXTS[0], TEXTS[0] + "!", TEXTS[1]], [3, 2, 1], 3)[0] == [TEXTS[0], TEXTS[1]]


def test_echoes_have_a_price():
    # "red apples" and "apples fall" of three pairs were said before: worth 1 − 0.9·2/3 = 0.4, less than 0.5.
    echo, new = "red apples fall softly", "blue rivers run deep"
    assert pick([echo, new], [1.0, 0.5], 1, price=0.9, said=["red apples fall down"])[0] == [new]
    assert pick([echo, new], [1.0, 0.5], 1, price=0.7, said=["red apples fall down"])[0] == [echo]


def test_each_post_is_chosen_by_its_own_row_of_worth():
    rows = np.array([[0, 1, 0], [1, 0, 0.5]])
    chosen = choose(candidates_of(TEXTS[:3], [0, 0, 0]), rows, guard(), (), 0.0)
    assert [choice.candidate.sample.text for choice in chosen] == [TEXTS[1], TEXTS[0]]


def test_a_candidate_of_no_worth_is_never_a_post():
    rows = np.array([[-np.inf, 1.0, -np.inf], [-np.inf, 1.0, -np.inf], [0.0, -np.inf, 0.0]])
    chosen = choose(candidates_of(TEXTS[:3], [0, 0, 0]), rows, guard(), (), 0.0)
    assert [choice.candidate.sample.text for choice in chosen] == [TEXTS[1], TEXTS[0]]
    assert chosen[0].beaten == ()


def test_plain_choice_takes_the_first_that_are_allowed():
    samples = [sample("cut off in the", ended=False), *map(sample, TEXTS)]
    assert [each.text for each in choose_plain(samples, 2, guard(training=[TEXTS[0]]))] == TEXTS[1:3]


REFERENCE = [f"word{n} other{n} third{n}" for n in range(200)]


def test_variety_compares_equal_set_sizes():
    # Pairs a-b, b-c | a-b, b-d: 3 different of 4, where the reference has nothing twice.
    assert Variety(["a b c", "a b d"], REFERENCE).ratio() == pytest.approx(3 / 4)
    assert Variety(["a b c"], REFERENCE).ratio(["a b d"]) == pytest.approx(3 / 4)
    assert Variety([], REFERENCE).ratio() == 1.0
    assert Variety(["a b c"] * 9, []).ratio() == 1.0


def test_variety_sees_slow_repetition_in_the_larger_sets():
    week = [f"x{n} y{n} z{n}" for n in range(64)]
    assert Variety(week, REFERENCE).ratio() == 1.0
    assert Variety(week * 2, REFERENCE).ratio() == pytest.approx(1 / 2)
    # Of the last 256 texts, compared at the reference's 200, only 64 differ.
    assert Variety(week * 4, REFERENCE).ratio() == pytest.approx(64 / 200)


def choose_of_two(worth, aim):
    """A post that repeats half of its pairs, or a worse one that is all new: (its text, the price)."""
    echo, new = "red apples fall on grass", "blue rivers run very deep"
    said = Variety(["red apples fall down here"], REFERENCE)
    rules = guard()
    found, price = choose_varied(candidates_of([echo, new], worth), spread_out(np.array(worth), 1), rules, said, aim)
    assert rules.repeats(found[0].candidate.sample.text)
    return found[0].candidate.sample.text == new, price


def test_variety_costs_nothing_while_the_best_are_varied_enough():
    # With the echo 6 of 8 pairs are different.
    assert choose_of_two([1.0, 0.0], aim=0.75) == (False, 0.0)


def test_the_price_of_echoes_is_the_lowest_that_keeps_variety():
    new, price = choose_of_two([1.0, 0.0], aim=0.76)
    # The echo's worth is 1 − price / 2: it loses from a price of 2 on, found to within 8 / 2⁵.
    assert new
    assert 2.0 <= price <= 2.25


def test_no_more_worth_is_given_up_than_variety_takes():
    # Shares of echoes ½, ¼ and 0: the second is varied enough (7 of 8 pairs) and wins from a price of 0.4 on, the third
    # only beyond 3.6.
    texts, worth = ["red apples fall on grass", "red apples swim in milk", "blue rivers run very deep"], [1.0, 0.9, 0.0]
    said = Variety(["red apples fall down here"], REFERENCE)
    found, price = choose_varied(candidates_of(texts, worth), spread_out(np.array(worth), 1), guard(), said, aim=0.8)
    assert (found[0].candidate.sample.text, price) == (texts[1], 0.5)


def test_where_no_price_keeps_variety_the_highest_is_taken():
    assert choose_of_two([1.0, 0.9], aim=1.01) == (True, DEAREST)


def test_speakers_take_turns_and_choose_among_their_own():
    speakers = ["policy", "stable", "policy", "stable", "policy"]
    candidates = [Candidate(sample(f"text {n}"), 1.0, 0.1, speaker) for n, speaker in enumerate(speakers)]
    rows = alternating(spread_out(np.arange(5.0), 3), candidates, {"policy": 2, "stable": 1})
    none = -np.inf
    assert rows.tolist() == [[0, none, 2, none, 4], [none, 1, none, 3, none], [0, none, 2, none, 4]]
