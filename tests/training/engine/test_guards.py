import random

import pytest

from training.engine.guards import (
    OBJECTIONS,
    Guard,
    Screening,
    TextIndex,
    ends_properly,
    has_shared_run,
    is_memorised,
    longest_shared_run,
)
from training.engine.types import LengthLimit, Sample
from training.engine.words import ngrams, words

FOX = "The quick brown fox jumps over the lazy dog"


def guard(training=(), published=()):
    return Guard(TextIndex(training), TextIndex(published), min_length=12, max_length=80)


def test_words_ignore_case_and_punctuation_and_keep_apostrophes():
    assert words("Don't PANIC, it's 42!") == ["don't", "panic", "it's", "42"]


def test_scripts_without_spaces_count_characters():
    assert words("猫が好き") == ["猫", "が", "好", "き"]


def test_short_texts_are_one_short_run():
    assert ngrams(["a", "b"], 3) == [("a", "b")]
    assert ngrams([], 3) == []


def test_containment_by_hand():
    # "the quick brown bear jumps over the": trigrams 1 (the quick brown) and 5 (jumps over the) of 5 are in the fox.
    assert TextIndex([FOX]).containment("The quick brown bear jumps over the") == pytest.approx(2 / 5)


def test_containment_counts_one_text_at_a_time():
    index = TextIndex(["one two three", "four five six"])
    assert index.containment("one two three four five six") == pytest.approx(1 / 4)


def test_containment_of_nothing_is_zero():
    assert TextIndex([FOX]).containment("...") == 0.0
    assert TextIndex().containment(FOX) == 0.0


def test_the_longest_shared_run_agrees_with_brute_force():
    rng = random.Random(5)
    for _ in range(200):
        first, second = ("".join(rng.choices("abc", k=rng.randint(0, 14))) for _ in range(2))
        runs = [
            len(first[i:j]) for i in range(len(first)) for j in range(i + 1, len(first) + 1) if first[i:j] in second
        ]
        longest = max(runs, default=0)
        assert longest_shared_run(first, second) == longest
        assert [has_shared_run(first, second, length) for length in (longest + 1, max(1, longest))] == [
            False,
            longest > 0,
        ]


def test_the_nearest_text_is_the_one_with_the_longest_run():
    index = TextIndex(["A brown bear eats honey", FOX, "Nothing alike whatsoever"])
    assert index.nearest("I saw the quick brown fox today") == (FOX, len("the quick brown fox "))
    assert index.nearest("Zebra") == ("", 0)


@pytest.mark.parametrize(
    ("text", "memorised"),
    [
        (FOX, True),
        ("the quick BROWN fox jumps over the lazy cat", True),
        ("A slow green turtle walks around the lazy dog house", False),
        ("Zebra", False),
    ],
)
def test_memorised_is_a_training_text_with_little_changed(text, memorised):
    assert is_memorised(text, TextIndex([FOX])) is memorised


def test_a_long_verbatim_run_is_memorised_even_in_a_longer_text():
    source = "It was the best of times, it was the worst of times, it was the age of wisdom"
    text = (
        "My cousin told me over dinner yesterday, while nobody listened at all to him, a line that she loves: "
        + source[:66]
    )
    assert is_memorised(text, TextIndex([source]))
    assert not is_memorised(text[:-12], TextIndex([source]))


@pytest.mark.parametrize(
    ("text", "ended", "proper"),
    [
        ("A whole post", True, True),
        ("A cut po", False, False),
        ("A sentence. ", False, True),
        ("終わり。", False, True),
    ],
)
def test_a_post_ends_by_itself_or_like_a_sentence(text, ended, proper):
    assert ends_properly(text, ended) is proper


@pytest.mark.parametrize(
    ("text", "ended", "objection"),
    [
        ("Too short", True, "too_short"),
        ("?! ?! ?! ?! ?! ?!", True, "too_short"),
        ("far too long " * 9, True, "too_long"),
        ("A post that was cut in the mid", False, "cut_off"),
        ("We said this very thing last week", True, "repeated"),
        (FOX, True, "memorised"),
        ("Something new under the sun today", True, ""),
    ],
)
def test_the_guard_says_why_not(text, ended, objection):
    assert guard([FOX], ["We said this very thing last week"]).objection(text, ended) == objection


def test_an_accepted_post_blocks_its_like_in_the_same_batch():
    rules = guard()
    text = "Something new under the sun today"
    assert rules.objection(text, True) == ""
    rules.accept(text)
    assert rules.objection(text + " again", True) == "repeated"
    assert [rules.repeats(text), guard().repeats(text)] == [True, False]


def test_the_platforms_limit_is_counted_its_own_way():
    double = Guard(TextIndex(), TextIndex(), 5, 80, LengthLimit(20, count=lambda text: 2 * len(text)))
    assert double.objection("Ten chars.", True) == ""
    assert double.objection("Eleven chrs", True) == "too_long"


def test_a_rehearsal_leaves_the_guard_as_it_was():
    rules = guard()
    rules.accept(FOX)
    other = rules.rehearsing()
    other.accept("Something new under the sun today")
    assert other.repeats(FOX)
    assert other.repeats("Something new under the sun today")
    assert not rules.repeats("Something new under the sun today")


PLANTED = {
    "too_short": "Too short",
    "too_long": "far too long " * 9,
    "cut_off": "A post that was cut in the mid",
    "repeated": "We said this very thing last week",
    "memorised": FOX,
}


def test_a_screening_shows_every_reason_with_an_example_and_says_so():
    texts = [*PLANTED.values(), "Something new under the sun today", "the quick brown fox jumps over the lazy dog!"]
    samples = [Sample(text, (1,), -1.0, ended=text != PLANTED["cut_off"]) for text in texts]
    screening = Screening.of(samples, guard([FOX], [PLANTED["repeated"]]))
    assert screening.passed == [5]
    assert screening.report() == {
        reason: {"candidates": 2 if reason == "memorised" else 1, "example": text} for reason, text in PLANTED.items()
    }
    assert list(screening.report()) == list(OBJECTIONS)
    assert screening.sentence() == (
        "6 of 7 candidates were held back: 1 too short, 1 too long, 1 cut off in the middle, "
        "1 too like a post that was published or declined, 2 copied from a past post."
    )


def test_a_screening_without_objections_says_nothing():
    screening = Screening.of([Sample("Something new under the sun today", (1,), -1.0, True)], guard())
    assert (screening.passed, screening.report(), screening.sentence()) == ([0], {}, "")
