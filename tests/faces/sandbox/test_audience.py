"""What the simulated audience likes and dislikes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from faces.kinds.sandbox import features, fit
from faces.kinds.sandbox.audience import DATA, Audience, dislike, unfinished_cost

FLUENT = "I have been teaching my father to use Linux and today he helped a friend install it."


@pytest.fixture(scope="module")
def posts() -> list[fit.RealPost]:
    """Real posts that the audience was not fitted to."""
    return fit.read_posts(fit.DEMO)


@pytest.fixture(scope="module")
def audience() -> Audience:
    return Audience.load()


def test_the_same_text_is_always_worth_the_same(audience: Audience) -> None:
    with np.load(DATA, allow_pickle=False) as stored:
        again = Audience({name: stored[name] for name in stored.files})
    assert audience.expected([FLUENT]).tolist() == again.expected(["something else first", FLUENT]).tolist()[1:]


def test_no_demo_post_is_of_the_audience_half(posts: list[fit.RealPost]) -> None:
    assert len(posts) == 5000
    assert [post.text for post in posts if fit.is_audience(post.text)] == []


def test_the_split_ignores_case_punctuation_and_spacing() -> None:
    assert features.stable_hash("Hello,  World!") == features.stable_hash("hello world")
    assert features.stable_hash("Microsoft is Dead") == 0xB85665F88923E97E


def test_both_halves_are_about_as_large() -> None:
    share = np.mean([fit.is_audience(f"text number {number}") for number in range(2000)])
    assert 0.45 < share < 0.55


def test_held_out_real_posts_are_on_the_standard_scale(audience: Audience, posts: list[fit.RealPost]) -> None:
    standard = audience.standardise(audience.expected([post.text for post in posts[::5]]))
    assert abs(standard.mean()) < 0.15
    assert 0.85 < standard.std() < 1.15
    assert 0.6 < audience.sd < 1.0


def test_it_orders_held_out_real_posts_better_than_chance(audience: Audience, posts: list[fit.RealPost]) -> None:
    # a text explains little of a score: .11 on these posts; 4 standard errors of no correlation at all are .057
    correlation = fit.rank_correlation(audience.expected([post.text for post in posts]), fit.target(posts))
    assert correlation > 0.08


def test_gibberish_is_worth_less_than_what_it_was_made_of(audience: Audience, posts: list[fit.RealPost]) -> None:
    draw = random.Random(1)
    texts = [post.text for post in posts[::25]]
    real = audience.expected(texts)
    shuffled = audience.expected([" ".join(draw.sample(text.split(), len(text.split()))) for text in texts])
    noise = audience.expected(["".join(draw.choices("abcdefghijklmnopqrstuvwxyz    ", k=60)) for _ in texts])
    assert noise.max() < np.quantile(real, 0.05)
    assert real.mean() - shuffled.mean() > 0.8
    assert (shuffled < real).mean() > 0.75


def test_saying_the_same_again_and_again_does_not_pay(audience: Audience) -> None:
    once, again = audience.opinions([FLUENT, " ".join(["I have been teaching"] * 5) + "."])
    assert once.repetition == 0.0
    assert again.repetition > 2.0
    assert again.expected < once.expected - 2.0


def test_stuffing_the_best_words_into_a_post_does_not_beat_good_posts(
    audience: Audience, posts: list[fit.RealPost]
) -> None:
    data = dict(np.load(DATA, allow_pickle=False))
    worth = data["word_weight"] * data["word_idf"]
    best = [data["vocabulary"].tobytes().decode().split("\n")[at] for at in np.argsort(-worth)[:30]]
    draw = random.Random(2)
    stuffed = audience.expected([" ".join(draw.sample(best, 12)) for _ in range(40)])
    real = audience.expected([post.text for post in posts[::5]])
    assert stuffed.mean() < np.quantile(real, 0.9)
    assert stuffed.max() < real.max()


@pytest.mark.parametrize(
    "text", ["", " ", "!!!", "👩‍👩‍👧‍👦🇺🇦", "日本語のテキストです", "\x00\u200b", "a" * 5000, "1 2 3", '"(['], ids=repr
)
def test_any_text_has_a_finite_worth(audience: Audience, text: str) -> None:
    [worth] = audience.expected([text])
    assert np.isfinite(worth)
    assert worth < audience.mean


def test_no_texts_make_no_numbers(audience: Audience) -> None:
    assert audience.expected([]).shape == (0,)


def test_unfinished_and_short_texts_cost() -> None:
    def cost(text: str) -> float:
        return unfinished_cost(text, features.tokens(text))

    assert cost(FLUENT) == 0.0
    assert cost("I have been teaching my father to use the") == pytest.approx(0.8)
    assert cost("I have been teaching (my father to use Linux") == pytest.approx(0.4)
    assert cost("Linux rocks") == pytest.approx(1.0)
    assert cost("") == pytest.approx(2.0)


def test_copies_cost_and_news_do_not() -> None:
    assert dislike(FLUENT, [FLUENT]) == pytest.approx(3.5)
    assert dislike(FLUENT.upper().rstrip("."), ["other words here today", FLUENT]) == pytest.approx(3.5)
    assert dislike(FLUENT, ["Scientists found water on the far side of the moon today"]) == 0.0
    assert dislike(FLUENT, []) == 0.0
    assert dislike("", [""]) == 0.0
    # words 1-6 give 4 trigrams, of which the earlier text has 2: (0.5 - 0.25) / 0.75 of 3.5
    assert dislike("one two three four five six", ["one two three four"]) == pytest.approx(3.5 / 3)


def test_the_data_file_is_small_and_holds_no_pickle() -> None:
    assert DATA.stat().st_size <= 2 * 1024 * 1024
    with np.load(DATA, allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)
