"""Each rule against planted cases, and against harmless look-alikes of them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from bots.moderation import RULES, Finding, RuleContext, Verdict, moderate, worst
from bots.moderation.contract import PASSED
from bots.moderation.registry import RuleKind
from bots.moderation.rules import blocklist


def verdict(rule: str, text: str, **context: Any) -> Verdict:
    return RULES[rule].load().check(text, RuleContext(**({"max_length": 280} | context))).verdict


def verdict_with(rule: str, text: str, **settings: Any) -> Verdict:
    return verdict(rule, text, settings=settings)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_passes_a_harmless_text(name: str) -> None:
    context = RuleContext(max_length=280, nearest_shared_run=0, earlier_texts=("Something else was said before.",))
    assert RULES[name].label
    assert RULES[name].load().check("A calm sentence about the weather, in 2024 or so.", context) == PASSED


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("what a BADWORD that is", "badword"),
        ("badword!", "Badword"),
        ("@badword said so", "badword"),
        ("b@dw0rd", "badword"),
        ("b a d w o r d", "badword"),
        ("b\u0430dword", "badword"),
        ("bad\u200bword", "badword"),
        ("ｂａｄｗｏｒｄ", "badword"),
        ("bádwörd", "badword"),
        ("this is Very   bad, indeed", "very bad"),
        ("这是坏词吗", "坏词"),
        ("look 🍆 here", "🍆"),
        ("плохо сказано", "Плохо"),
        ("read 4chan", "4chan"),
    ],
)
def test_the_bots_own_words_are_blocked_disguised_or_not(text: str, word: str) -> None:
    assert verdict_with("blocklist", text, blocklist=[word]) == "block"
    assert verdict_with("blocklist", text, blocklist=["otherword"]) == "pass"


@pytest.mark.parametrize(
    ("text", "word"), [("classic", "ass"), ("the year 505", "sos"), ("very, not bad", "very bad"), ("anything", "  ")]
)
def test_words_inside_other_words_are_not_blocked(text: str, word: str) -> None:
    assert verdict_with("blocklist", text, blocklist=[word]) == "pass"


def test_the_built_in_list_holds_hashes_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(len(bytes.fromhex(digest)) == 32 for digest in blocklist.SLURS)
    assert len(blocklist.SLURS) > 20
    planted = hashlib.sha256(b"plantedslur").hexdigest()
    assert verdict("blocklist", "a planted5lur here") == "pass"
    monkeypatch.setattr(blocklist, "SLURS", blocklist.SLURS | {planted})
    for text in ("a Plantedslur here", "a planted5lur here", "p l a n t e d s l u r"):
        finding = RULES["blocklist"].load().check(text, RuleContext(max_length=280))
        assert finding == Finding("block", "The text holds a slur of the built-in list.")


def test_patterns_block_what_they_match() -> None:
    assert verdict_with("pattern", "Buy  NOW, cheap", patterns=["free money", r"buy\s+now"]) == "block"
    assert verdict_with("pattern", "by now", patterns=["free money", r"buy\s+now"]) == "pass"


@pytest.mark.parametrize(
    "text",
    [
        "see https://example.org/a",
        "www.example",
        "at example.com.",
        "bit.ly/x",
        "(docs.example.co.uk)",
        "ftp://x",
        "HTTP://X",
    ],
)
def test_links_are_flagged_unless_settings_say_otherwise(text: str) -> None:
    assert verdict("links", text) == "flag"
    assert verdict_with("links", text, links="block") == "block"
    assert verdict_with("links", text, links="pass") == "pass"


@pytest.mark.parametrize(
    "text", ["e.g. this", "node.js rocks", "end.Next", "v1.2.3", "me@example.com", "so...it is", "a: b/c"]
)
def test_what_only_resembles_a_link_passes(text: str) -> None:
    assert verdict("links", text) == "pass"


@pytest.mark.parametrize("text", ["hi @bob", "@bob@example.social", "ask /u/some_one", "u/some_one did", "<@123456>"])
def test_mentions_are_flagged_unless_settings_say_otherwise(text: str) -> None:
    assert verdict("mentions", text) == "flag"
    assert verdict_with("mentions", text, mentions="block") == "block"
    assert verdict_with("mentions", text, mentions="pass") == "pass"


@pytest.mark.parametrize("text", ["me@example.com", "50 @ 3", "menu/usual", "you/us"])
def test_what_only_resembles_a_mention_passes(text: str) -> None:
    assert verdict("mentions", text) == "pass"


@pytest.mark.parametrize("text", ["wake up @everyone", "@here", "<@&42>"])
def test_calling_everybody_is_always_blocked(text: str) -> None:
    assert verdict_with("mentions", text, mentions="pass") == "block"


@pytest.mark.parametrize(
    ("text", "expected", "what"),
    [
        ("pay to 4111 1111 1111 1111 now", "block", "a payment card number"),
        ("5555-5555-5555-4444", "block", "a payment card number"),
        ("to DE89 3704 0044 0532 0130 00 PLEASE", "block", "a bank account number (IBAN)"),
        ("gb82west12345698765432", "block", "a bank account number (IBAN)"),
        ("write to jane.doe+x@mail.example.org", "flag", "an e-mail address"),
        ("jane [at] example.org", "flag", "an e-mail address"),
        ("call +49 30 901820 today", "flag", "a phone number"),
        ("call (555) 123-4567", "flag", "a phone number"),
        ("030/123 45 67", "flag", "a phone number"),
        ("it is at 8.8.8.8", "flag", "an IP address"),
        ("2001:4860:4860::8888", "flag", "an IP address"),
        ("a@b.org and 4111111111111111", "block", "a payment card number and an e-mail address"),
    ],
)
def test_personal_data_is_found_and_not_quoted(text: str, expected: Verdict, what: str) -> None:
    finding = RULES["personal_data"].load().check(text, RuleContext(max_length=280))
    assert finding == Finding(expected, f"The text seems to hold {what}.")


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112 is no card",
        "DE89 3704 0044 0532 0130 01",
        "from 2008-2012 or 2010-10-12",
        "1,234,567 people, 3.14159265358979",
        "at 12:30:45 on 10.10.2018",
        "localhost is 127.0.0.1 and home 192.168.1.1",
        "version 10.0.300.400",
        "face::b00k",
        "a thread of 1000000000 posts",
    ],
)
def test_numbers_that_are_nobodys_pass(text: str) -> None:
    assert verdict("personal_data", text) == "pass"


def test_length_is_counted_as_the_platform_counts() -> None:
    assert verdict("length", "12345", max_length=5) == "pass"
    assert verdict("length", "123456", max_length=5) == "block"
    assert verdict("length", "🚀🚀🚀", max_length=5, count=lambda text: 2 * len(text)) == "block"


EARLIER = ("The quick brown fox jumps over the lazy dog near the river bank", "Good morning all")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the quick, brown FOX jumps over the lazy dog near the river bank!", "block"),
        ("good morning, ALL", "block"),
        ("The quick brown fox jumps over the lazy dog near my old house", "flag"),
        ("quick brown fox", "flag"),
        ("Good morning everyone", "pass"),
        ("A slow red hen walks under the busy cat", "pass"),
        ("no no no no", "flag"),
        ("buy it now buy it now buy it now buy it now", "flag"),
        ("🚀", "pass"),
    ],
)
def test_repetition_of_earlier_posts_and_of_itself(text: str, expected: Verdict) -> None:
    assert verdict("repetition", text, earlier_texts=EARLIER) == expected


def test_texts_without_words_are_like_themselves() -> None:
    assert verdict("repetition", "🚀", earlier_texts=("🚀 ",)) == "block"


@pytest.mark.parametrize(
    ("shared", "expected"), [(0, "pass"), (59, "pass"), (60, "flag"), (200, "flag"), (None, "flag")]
)
def test_runs_shared_with_training_texts(shared: int | None, expected: Verdict) -> None:
    assert verdict("memorisation", "text", nearest_shared_run=shared) == expected


def test_the_longest_shared_run_is_a_setting() -> None:
    assert verdict("memorisation", "text", nearest_shared_run=50, settings={"longest_shared_run": 40}) == "flag"


def test_moderation_gives_every_rules_finding() -> None:
    findings = moderate("Write to a@b.org", RuleContext(max_length=280, nearest_shared_run=0))
    assert dict(findings) == dict.fromkeys(RULES, PASSED) | {
        "personal_data": Finding("flag", "The text seems to hold an e-mail address.")
    }
    assert worst(findings) == "flag"


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"blocklist": "badword"}, "blocklist"),
        ({"patterns": ["(a"]}, "pattern"),
        ({"patterns": ["a"] * 101}, "pattern"),
        ({"links": "sometimes"}, "links"),
        ({"mentions": None}, "mentions"),
        ({"longest_shared_run": "many"}, "memorisation"),
    ],
)
def test_a_rule_that_cannot_run_blocks(settings: dict[str, Any], rule: str) -> None:
    findings = dict(moderate("A calm sentence.", RuleContext(max_length=280, settings=settings, nearest_shared_run=0)))
    assert {name: finding.verdict for name, finding in findings.items() if finding != PASSED} == {rule: "block"}
    assert findings[rule].reason.startswith("This check could not run (")


def test_a_face_that_cannot_count_blocks() -> None:
    def broken(text: str) -> int:
        raise RuntimeError("no count")

    findings = dict(moderate("A calm sentence.", RuleContext(max_length=280, count=broken, nearest_shared_run=0)))
    assert findings["length"] == Finding(
        "block", "This check could not run (RuntimeError: no count), so the post is held back."
    )


def test_a_rule_that_cannot_be_loaded_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "missing", RuleKind("Missing", "bots.moderation.rules.missing.Missing"))
    findings = dict(moderate("A calm sentence.", RuleContext(max_length=280, nearest_shared_run=0)))
    assert findings["missing"].verdict == "block"


def test_nothing_checked_is_not_a_pass() -> None:
    assert worst([]) == "block"
