import math

import pytest

from training.engine.diversity import distinct_at, distinct_n, duplicate_rate, memorised_rate, self_bleu
from training.engine.guards import TextIndex


def test_distinct_pairs_by_hand():
    # Pairs: a-b, b-c | a-b, b-d: 3 different of 4.
    assert distinct_n(["a b c", "a b d"]) == pytest.approx(3 / 4)
    assert distinct_n([]) == 0.0


def test_distinct_at_equal_size_does_not_punish_the_larger_set():
    texts = [f"the post number {n} of the bot" for n in range(64)]
    # Every subset of two: 12 pairs of words, of which "the post", "post number", "of the", "the bot" come twice.
    assert distinct_at(texts, 2) == pytest.approx(8 / 12)
    assert distinct_n(texts) < 0.4
    assert distinct_at(texts[:2], 2) == distinct_n(texts[:2])


def test_self_bleu_of_equal_texts_is_one_and_of_strangers_zero():
    assert self_bleu(["one two three four"] * 3) == pytest.approx(1.0)
    assert self_bleu(["one two three", "four five six"]) == 0.0
    assert self_bleu(["alone"]) == 0.0


def test_self_bleu_by_hand():
    # Against "a b c e", "a b c d" matches 3 of 4 words, 2 of 3 pairs (+1 smoothed: 3/4), 1 of 2 triples (2/3); and the
    # same back.
    expected = math.exp((math.log(3 / 4) + math.log(3 / 4) + math.log(2 / 3)) / 3)
    assert self_bleu(["a b c d", "a b c e"]) == pytest.approx(expected)


def test_self_bleu_clips_by_the_best_other_text():
    # "a a" against "a": one match of two; pairs (0 + 1) / (1 + 1); no triples (0 + 1) / (0 + 1). "a" against "a a": one
    # of one, then 1 and 1, and a brevity penalty of e^(1 − 2/1).
    assert self_bleu(["a a", "a"]) == pytest.approx((math.exp(math.log(1 / 4) / 3) + math.exp(-1)) / 2)


def test_duplicates_are_counted_once_they_repeat():
    assert duplicate_rate(["one two three four", "One two three four!", "five six seven eight"]) == pytest.approx(1 / 3)
    assert duplicate_rate([]) == 0.0


def test_memorised_share():
    training = TextIndex(["the quick brown fox jumps over the lazy dog"])
    texts = ["The quick brown fox jumps over the lazy dog", "A turtle walks slowly around my house"]
    assert memorised_rate(texts, training) == pytest.approx(1 / 2)
