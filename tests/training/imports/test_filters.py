"""What each filter leaves out, and what it must not."""

from __future__ import annotations

import io
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.languages import language_of
from tests.training.imports.streams import jsonl_bytes
from training.imports import FILTERS, ImportedRow, checked_filters, preview
from training.imports.filters import near_duplicates
from training.imports.filters.blocklist import blocklist


def row(text: str, **fields: Any) -> ImportedRow:
    return ImportedRow(text, None, fields.pop("author", ""), "", None, 1, **fields)


def drops(name: str, text: str, parameters: dict[str, Any] | None = None, **fields: Any) -> bool:
    return FILTERS[name].check(parameters or {})(row(text, **fields)) is not None


@pytest.mark.parametrize(
    ("name", "dropped", "kept"),
    [
        ("reposts", ["RT @ann: look at this", "“RT @ann: look"], ["START @ann", "Art @ home", "I RT @ann often"]),
        ("replies", ["@ann so true", ".@ann so true"], ["so true @ann", "@ home today"]),
        ("mentions_only", ["@ann @bob@example.social", "u/ann !"], ["@ann yes", "no names", "!!!"]),
        ("links_only", ["https://example.org/a?b=c", "@ann www.example.org", "t.co/abc"],
         ["see https://example.org", "…"]),
        ("too_short", ["two words", "@ann https://example.org one two", "…"], ["now three words", "寿司が好き"]),
        (
            "personal_data",
            [
                "write to ann.b+c@mail.example.org please", "call +49 30 1234567", "call (555) 123-4567 now",
                "0171 2345678", "IBAN DE89 3704 0044 0532 0130 00 thanks", "card 4111 1111 1111 1111",
                "the server is 93.184.216.34", "2001:db8::ff00:42:8329 is down",
                "I live at 12 Old Mill Road, Springfield",
                "Hauptstraße 5, Berlin", "12 rue de Rivoli",
            ],
            [
                "from 2016-2020 we won 3-1", "1,234,567 people", "version 1.2.3", "at 12:30:45 today",
                "127.0.0.1 is home",
                "card 4111 1111 1111 1112", "IBAN DE89 3704 0044 0532 0130 01", "@ann@example.social hello",
                "I ate 12 pies on the road", "order 12345678901", "https://example.org/2023/02/18/12345",
            ],
        ),
    ],
)  # fmt: skip
def test_what_a_filter_leaves_out(name: str, dropped: list[str], kept: list[str]) -> None:
    assert [text for text in dropped if not drops(name, text)] == []
    assert [text for text in kept if drops(name, text)] == []


def test_what_an_export_says_of_a_row_counts_too() -> None:
    assert drops("reposts", "look at this", is_repost=True)
    assert drops("replies", "so true", is_reply=True)
    assert drops("replies", "so true", reply_to_text="is it?")


@pytest.mark.parametrize(
    ("author", "text", "dropped"),
    [
        ("AutoModerator", "Welcome", True),
        ("weather_bot", "Rain", True),
        ("SneakyBot", "Hi", True),
        ("ann", "Beep boop", True),
        ("ann", "I am a bot, and this action was performed automatically.", True),
        ("Abbot", "Hello", False),
        ("botanist", "Roses", False),
        ("ann", "I am about to go", False),
        ("NewsFeed", "Today", True),
    ],
)
def test_known_bots(author: str, text: str, dropped: bool) -> None:
    assert drops("known_bots", text, {"accounts": ["@newsfeed"]}, author=author) == dropped


def test_a_blocklist_looks_for_whole_words_and_phrases() -> None:
    words = {"words": ["cat", "grumpy  dog", "c++"]}
    texts = ["A CAT!", "the grumpy\ndog", "I know C++.", "cats", "a dog"]
    assert [text for text in texts if drops("blocklist", text, words)] == [
        "A CAT!", "the grumpy\ndog", "I know C++.",
    ]  # fmt: skip
    assert not drops("blocklist", "anything")


def test_a_blocklist_tells_the_first_and_longest_of_its_words() -> None:
    check = FILTERS["blocklist"].check({"words": ["dog", "grumpy", "grumpy dog", "c++", "c", "strasse", "İzmir", "#x"]})
    told = {
        text: check(row(text))
        for text in ("a Dog, grumpy dog", "The GRUMPY  dog", "grumpy cat", "C++ and c", "c and C++", "##X", "ab#x",
                     "Straße", "STRASSE", "izmir", "x")
    }  # fmt: skip
    assert told == {
        "a Dog, grumpy dog": "holds “Dog”", "The GRUMPY  dog": "holds “GRUMPY  dog”", "grumpy cat": "holds “grumpy”",
        "C++ and c": "holds “C++”", "c and C++": "holds “c”", "##X": "holds “#X”", "ab#x": None, "Straße": None,
        "STRASSE": "holds “STRASSE”", "izmir": "holds “izmir”", "x": None,
    }  # fmt: skip


@given(st.text(max_size=3), st.text(max_size=30))
@settings(max_examples=300)
def test_a_blocklist_finds_what_a_search_for_the_whole_word_finds(listed: str, text: str) -> None:
    words = [listed.strip() or "a", "is", "SS"]
    alternatives = "|".join(r"\s+".join(map(re.escape, w.split())) for w in sorted(words, key=len, reverse=True))
    found = re.search(rf"(?<!\w)(?:{alternatives})(?!\w)", text, re.IGNORECASE)
    assert blocklist(words)(row(text)) == (f"holds “{found.group()}”" if found else None)


def test_letters_that_are_the_same_but_for_capitals_are_so_to_a_blocklist() -> None:
    missed = []
    for letter in map(chr, range(0x1_0000)):
        for other in {letter.lower(), letter.upper(), letter.title()} - {letter}:
            if re.fullmatch(r"\w", other) and re.fullmatch(re.escape(letter), other, re.IGNORECASE):
                missed += [letter] if not drops("blocklist", other, {"words": [letter]}) else []
    assert missed == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("links_only", ("", "a-", "/")),
        ("personal_data", ("", "A-", " 1")),
        ("personal_data", ("1 ", "A.", "")),
        ("personal_data", ("+1", "((", "")),
        ("personal_data", ("a@", "a.", "1")),
    ],
)
def test_a_text_made_to_keep_a_filter_busy_does_not(name: str, parts: tuple[str, str, str]) -> None:
    """A time that grew with the square of the length would be longer than any test may take."""
    first, repeated, last = parts
    assert not drops(name, first + repeated * 250_000 + last)


def test_ten_thousand_words_are_looked_up() -> None:
    words = [f"word{number}" for number in range(10_000)]
    assert not drops("blocklist", "a text of words " * 30_000, {"words": words})
    assert drops("blocklist", "a text of words " * 30_000 + "Word9999", {"words": words})


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "The weather is so good that we have been out all day with the dog"),
        ("de", "Heute ist das Wetter so schön, dass wir mit dem Hund den ganzen Tag draußen sind"),
        ("fr", "Il fait si beau aujourd'hui que nous sommes dehors avec le chien depuis ce matin"),
        ("es", "Hoy hace tan buen tiempo que estamos fuera con el perro desde la mañana"),
        ("it", "Oggi il tempo è così bello che siamo fuori con il cane da questa mattina"),
        ("pt", "Hoje o tempo está tão bom que estamos com o cachorro lá fora desde de manhã"),
        ("nl", "Het weer is vandaag zo mooi dat we de hele dag met de hond buiten zijn"),
        ("pl", "Dzisiaj jest tak ładna pogoda, że cały dzień jesteśmy z psem na dworze"),
        ("sv", "Vädret är så fint idag att vi har varit ute med hunden hela dagen och det är bra"),
        ("tr", "Bugün hava çok güzel ve biz bütün gün köpek ile dışarıda olduk ama şimdi evdeyiz"),
        ("ru", "Сегодня такая хорошая погода, что мы весь день гуляем"),
        ("uk", "Сьогодні така гарна погода, що ми їздимо з собакою"),
        ("ja", "今日はとても天気がいいです"),
        ("zh", "今天天气很好我们整天在外面"),
        ("ko", "오늘은 날씨가 아주 좋아요"),
        ("ar", "الطقس جميل جدا اليوم"),
        ("el", "Ο καιρός είναι πολύ ωραίος σήμερα"),
        ("", "Python 3.3.1 released"),
        ("", "lol"),
        ("", "https://example.org/the-and-of-is"),
        ("", "😀😀😀 123"),
        ("", "Café Central, Wien"),
    ],
)
def test_languages_are_told_or_left_open(language: str, text: str) -> None:
    assert language_of(text) == language


def test_other_languages_are_left_out_and_unknown_ones_kept() -> None:
    german = "Heute ist das Wetter so schön, dass wir mit dem Hund draußen sind"
    assert drops("language", german)
    assert not drops("language", german, {"languages": ["DE", "en"]})
    assert not drops("language", "Python 3.3.1 released", {"languages": ["de"]})


def test_near_duplicates_by_the_share_of_what_is_in_common() -> None:
    check = FILTERS["near_duplicates"].check({"similarity": 0.8})
    first = "The slowest tram in town stops at every single corner of the old market square, twice on Sundays"
    assert check(row(first)) is None
    assert check(row(first.upper() + "!!! https://example.org")) == "100% the same as an earlier post"
    assert check(row(first.replace("twice", "thrice"))) is not None
    assert check(row("A patient gardener plants the same tulips every year and is surprised by their colours")) is None
    assert check(row("tiny")) is None


def test_the_similarity_is_that_of_jaccard() -> None:
    one, two = near_duplicates.sketch_of("abcdefgh"), near_duplicates.sketch_of("abcdefgx")
    # abcde bcdef cdefg are shared; defgh and defgx are not: 3 of 5
    assert near_duplicates.similarity_of(one, two) == 3 / 5
    rng = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    long = "".join(rng.choices(letters, k=3000))
    half = long[:1500] + "".join(rng.choices(letters, k=1500))
    assert near_duplicates.similarity_of(
        near_duplicates.sketch_of(long), near_duplicates.sketch_of(half)
    ) == pytest.approx(1 / 3, abs=0.1)


def test_candidates_of_a_high_similarity_are_hardly_missed() -> None:
    rng = random.Random(2)
    found = 0
    for _ in range(200):
        words = ["".join(rng.choices("abcdefghijklmnop", k=5)) for _ in range(20)]
        changed = [*words[:-1], "zzzzz"]
        check = FILTERS["near_duplicates"].check({"similarity": 0.8})
        check(row(" ".join(words)))
        found += check(row(" ".join(changed))) is not None
    assert found >= 190


def test_only_so_many_posts_are_remembered() -> None:
    remembered = near_duplicates.Remembered(capacity=10)
    sketches = [
        near_duplicates.sketch_of(f"{letter * 3} a post of its own kind {letter * 9}") for letter in "abcdefghijkl"
    ]
    for sketch in sketches:
        remembered.add(sketch, near_duplicates.bands(sketch))
    nearest = [remembered.nearest(sketch, near_duplicates.bands(sketch)) for sketch in sketches]
    assert nearest[2:] == [1.0] * 10
    assert max(nearest[:2]) < 1.0


def test_a_row_counts_for_the_first_filter_that_leaves_it_out() -> None:
    posts = [
        "RT @ann: hello",
        "@ann hello",
        "RT @bob: hi",
        "a post that stays",
        "a post that stays",
        "RT @eve: hey",
        "RT @zoe: ho",
    ]
    chosen = {"duplicates": {}, "too_short": {"min_words": 4}, "reposts": {}}
    seen = preview(io.BytesIO(jsonl_bytes(posts)), "posts.jsonl", chosen=chosen)
    assert [(report.name, report.dropped) for report in seen.filters] == [
        ("reposts", 4), ("too_short", 1), ("duplicates", 1),
    ]  # fmt: skip
    assert [(each.row, each.text, each.detail) for each in seen.filters[0].examples] == [
        (1, "RT @ann: hello", "a repost"), (3, "RT @bob: hi", "a repost"), (6, "RT @eve: hey", "a repost"),
    ]  # fmt: skip
    assert (seen.kept, seen.dropped) == (1, {})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "as an object"),
        ({"magic": {}}, "no filter “magic”"),
        ({"reposts": {"x": 1}}, "takes no parameters"),
        ({"too_short": {"min_words": 0}}, "between 1 and 100"),
        ({"too_short": {"min_words": "3"}}, "between 1 and 100"),
        ({"blocklist": {"words": [1]}}, "list of texts"),
    ],
)
def test_what_cannot_be_chosen_is_refused(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        checked_filters(given)


def test_parameters_are_completed() -> None:
    assert checked_filters({"too_short": {}, "blocklist": {"words": " spam "}}) == {
        "too_short": {"min_words": 3},
        "blocklist": {"words": ["spam"]},
    }


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_can_be_made_and_is_described(name: str) -> None:
    entry = FILTERS[name]
    assert entry.label
    assert entry.description
    assert entry.check({})(row("An ordinary post that nobody could object to, one would think")) is None
