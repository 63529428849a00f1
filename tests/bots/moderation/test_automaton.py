from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.moderation.automaton import PatternError, compile_pattern

ATOMS = st.sampled_from(
    ["a", "B", ".", r"\w", r"\d", r"\b", r"\B", "^", "$", "[^a]", "[a-b1]", r"\.", " ", "é", r"\x61", "(?:)"]
)
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{2,}", "{,2}", "*?", "+?"])
PIECES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda some: f"(?:{'|'.join(some)})"),
        st.tuples(inner, REPEATS).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        inner.map(lambda one: f"({one})"),
    ),
    max_leaves=6,
)


@given(PIECES.filter(str.strip), st.text("aAb1. é\n", max_size=8))
def test_it_finds_what_pythons_own_engine_finds(pattern: str, text: str) -> None:
    if re.search(pattern, "", re.IGNORECASE):
        with pytest.raises(PatternError, match="matches the empty text"):
            compile_pattern(pattern)
    else:
        assert compile_pattern(pattern).search(text) == bool(re.search(pattern, text, re.IGNORECASE))


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)+b", "(a|aa)*b", "a*a*a*a*a*a*b", "(a?){30}a{30}b", "((a*)*)*b", r"(\w+\s?)+b"]
)
def test_patterns_that_keep_pythons_engine_busy_for_ever_come_to_an_end(pattern: str) -> None:
    assert not compile_pattern(pattern).search("a" * 3000)
    assert compile_pattern(pattern).search("a" * 3000 + "b")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(a)\1", "uses references to groups"),
        (r"(?=a)b", "uses look-around, flags and special groups"),
        (r"(?<!a)b", "uses look-around"),
        (r"(?i)a", "uses look-around, flags"),
        (r"(?>a+)b", "uses look-around"),
        (r"a++b", "uses possessive repeats"),
        (r"(a{99}){99}", "is too large"),
        (r"((){9999}){9999}a", "is too large"),
        (r"a{999999}", "is too large"),
        (r"(a", "is not a regular expression"),
        (r"[a", "is not a regular expression"),
        (r"a*", "matches the empty text"),
        (r"a|", "matches the empty text"),
        (r"  ", "the pattern is empty"),
        ("a" * 301, "longer than 300 characters"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused_with_a_reason(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=re.escape(reason)):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"\N{SNOWMAN}+", "a ☃☃"),
        ("a{,}b", "aab"),
        ("x{}", "x{}"),
        ("x{a}", "x{a}"),
        ("(?P<name>spam)", "SPAM"),
        ("[]x]y", "]y"),
        (r"\u00e9", "É"),
    ],
)
def test_less_usual_notations_mean_what_they_mean_in_python(pattern: str, text: str) -> None:
    assert re.search(pattern, text, re.IGNORECASE)
    assert compile_pattern(pattern).search(text)
    assert not compile_pattern(pattern).search("none of it here: z")
