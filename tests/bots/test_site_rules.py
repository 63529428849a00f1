"""Rules of the whole installation: what each kind finds, when they hold, and how they are tried out."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts.tenancy import tenant
from bots import toxicity
from bots.models import Bot, Post, SiteRule, Takedown, Verdict
from bots.moderation.contract import RuleContext
from bots.moderation.registry import ONLY_OF_THE_SITE, RULES
from bots.moderation.site import KINDS, SiteCheck
from bots.services import posts, rule_trials, site_rules
from bots.services.posts import Draft
from bots.states import PostState
from tests.factories import World, make_bot, make_post, make_verdict

LONG = "A long enough sentence about the harbour and the tram that goes there every single morning of the week"
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "blocklist": ({"blocklist": ["casino"]}, "Come to the c4s1no", "Come to the harbour"),
    "pattern": ({"patterns": [r"buy \d+ now"]}, "buy 100 now", "buy some now"),
    "links": ({"allowed_hosts": ["example.org"]}, "See https://example.com/x", "See https://news.example.org/x"),
    "mentions": ({}, "Ask @somebody", "Ask somebody"),
    "language": ({"languages": ["en"]}, "Das ist nicht der Weg und ich bin hier", "This is not the way and I am here"),
    "length": ({"most": 10}, "eleven char", "ten charac"),
    "toxicity": ({"toxicity": 0.5}, "You are such an idiot, go die", "You are such a help"),
    "personal_data": ({}, "Write to ann@example.org", "Write to Ann"),
    "memorisation": ({"longest_shared_run": 20}, "anything", "anything"),
    "repetition": ({"likeness": 0.9}, LONG, "Something else altogether, about bread"),
}


def _rule(**fields: Any) -> SiteRule:
    fields = {"name": "No casinos", "kind": "blocklist", "settings": {"blocklist": ["casino"]}} | fields
    return site_rules.keep(SiteRule(**fields))


@pytest.fixture
def trusting(world: World) -> Any:
    with tenant(world.acme.pk):
        yield make_bot(approval=Bot.Approval.AUTO)


def test_every_kind_is_a_rule_that_there_is() -> None:
    assert set(KINDS) == {*RULES, *ONLY_OF_THE_SITE} == set(CASES)


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_finds_what_it_is_for_and_nothing_else(kind: str) -> None:
    settings, bad, good = CASES[kind]
    check = SiteCheck("site:1", "A rule", kind, settings, "block", "Not here.")
    at = RuleContext(max_length=500, earlier_texts=[LONG], nearest_shared_run=20 if kind == "memorisation" else 0)
    found = check.check(bad, at)
    assert (found.verdict, found.reason) == ("block", "Not here. (A rule of this installation: A rule.)")
    assert check.check(good, RuleContext(max_length=500, earlier_texts=[LONG], nearest_shared_run=19)).verdict == "pass"


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org.evil.com/",
        "https://example.org@evil.com/",
        "https://evilexample.org/",
        "evil.com/example.org",
    ],
)
def test_an_address_that_only_looks_like_an_allowed_one_is_found(text: str) -> None:
    check = SiteCheck("site:1", "Links", "links", {"allowed_hosts": ["example.org"]}, "flag")
    assert check.check(text, RuleContext(max_length=500)).verdict == "flag"


@pytest.mark.parametrize(
    ("kind", "settings", "wrong"),
    [
        ("blocklist", {}, "blocklist"),
        ("blocklist", {"blocklist": []}, "blocklist"),
        ("pattern", {"patterns": ["(a"]}, "patterns"),
        ("pattern", {"patterns": [r"(a)\1"]}, "patterns"),
        ("links", {"allowed_hosts": ["https://example.org/"]}, "allowed_hosts"),
        ("language", {"languages": ["xx"]}, "languages"),
        ("length", {"most": 0}, "most"),
        ("toxicity", {"toxicity": 2}, "toxicity"),
        ("mentions", {"most": 3}, "most"),
        ("sorcery", {}, "kind"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_by_name(db: None, kind: str, settings: Any, wrong: str) -> None:
    with pytest.raises(ValidationError) as refused:
        _rule(kind=kind, settings=settings)
    assert list(refused.value.message_dict) == [wrong]


def test_a_rule_holds_for_every_bot_from_the_next_post_on(world: World, trusting: Bot) -> None:
    (before,) = posts.propose_posts(trusting, [Draft("Come to the casino")])
    rule = _rule(outcome="block", message="No gambling here.")
    (after,) = posts.propose_posts(trusting, [Draft("The casino is open")])
    assert (before.state, after.state) == (PostState.APPROVED, PostState.BLOCKED)
    found = after.verdicts.get(rule=rule.name_of_verdicts)
    assert found.reason == "No gambling here. (A rule of this installation: No casinos.)"
    SiteRule.objects.update(outcome="flag")
    (flagged,) = posts.propose_posts(trusting, [Draft("A casino by the sea")])
    SiteRule.objects.update(active=False)
    (free,) = posts.propose_posts(trusting, [Draft("Casino, casino")])
    assert (flagged.state, free.state) == (PostState.PENDING_REVIEW, PostState.APPROVED)


def test_a_rule_that_cannot_run_blocks(trusting: Bot) -> None:
    SiteRule.objects.create(name="Broken", kind="blocklist", settings={"blocklist": 3})
    (post,) = posts.propose_posts(trusting, [Draft("A harmless text")])
    assert post.state == PostState.BLOCKED
    assert "could not run" in post.verdicts.get(rule__startswith="site:").reason


def test_a_pattern_that_makes_others_hang_is_searched_in_no_time(trusting: Bot) -> None:
    _rule(name="Slow", kind="pattern", settings={"patterns": ["(a+)+b"]})
    (post,) = posts.propose_posts(trusting, [Draft("a" * 200)])
    assert post.verdicts.get(rule__startswith="site:").value == "pass"


def test_what_was_taken_down_does_not_come_back_word_for_word(world: World, trusting: Bot) -> None:
    Takedown.objects.create(
        post_id=make_post(trusting).pk, bot_id=trusting.pk, reason="x", by="o", evidence={"text": "Gone for good"}
    )
    again, other = posts.propose_posts(trusting, [Draft("Gone for good"), Draft("Here to stay")])
    assert (again.state, other.state) == (PostState.BLOCKED, PostState.APPROVED)


def test_the_test_box_tells_what_each_rule_says_and_keeps_nothing(trusting: Bot) -> None:
    rule = _rule()
    found = dict(site_rules.try_text("Come to the casino"))
    assert found[rule.name].verdict == "flag"
    assert {title: finding.verdict for title, finding in found.items() if finding.verdict != "pass"} == {
        rule.name: "flag"
    }
    assert not Verdict.objects.exists()


def test_a_dry_run_lists_what_would_have_been_and_writes_nothing(world: World, trusting: Bot) -> None:
    rule = SiteRule(name="Trial", kind="blocklist", settings={"blocklist": ["casino"]}, outcome="block")
    bad, good = make_post(trusting, PostState.PUBLISHED, text="Casino!"), make_post(trusting, text="Bread!")
    with tenant(world.globex.pk):
        theirs = make_post(make_bot(), text="A casino of theirs")
    before = {post.pk: (post.state, post.updated_at) for post in (bad, good)}
    looked_at, trials = rule_trials.dry_run([rule])
    assert (looked_at, [trial.post.pk for trial in trials], trials[0].value) == (3, [theirs.pk, bad.pk], "block")
    assert {post.pk: (post.state, post.updated_at) for post in Post.objects.filter(pk__in=before)} == before
    assert not Verdict.objects.exists()


def test_a_dry_run_looks_at_the_newest_posts_alone(
    world: World, trusting: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_trials, "NEWEST", 2)
    made = [make_post(trusting, text=f"Casino {number}") for number in range(3)]
    with tenant(world.globex.pk):
        theirs = make_post(make_bot(), text="Casino of theirs")
    assert rule_trials.newest_posts() == [theirs.pk, made[2].pk]


def test_hits_are_counted_across_organizations(world: World, trusting: Bot) -> None:
    rule = _rule()
    make_verdict(make_post(trusting), rule.name_of_verdicts, "flag")
    with tenant(world.globex.pk):
        bot = make_bot()
        make_verdict(make_post(bot), rule.name_of_verdicts, "block")
        make_verdict(make_post(bot), rule.name_of_verdicts, "pass")
        make_verdict(make_post(bot), "links", "flag")
    assert site_rules.hit_counts() == {rule.name_of_verdicts: 2, "links": 1}


def test_what_a_classifier_of_the_hub_measured_counts(trusting: Bot) -> None:
    _rule(name="Toxic", kind="toxicity", settings={})
    draft = Draft("Nothing that a word list would hear", provenance={"toxicity": 0.9})
    (post,) = posts.propose_posts(trusting, [draft])
    assert post.state == PostState.PENDING_REVIEW


def test_the_classifier_hears_what_the_word_list_does_not_and_leaves_hard_cases_alone() -> None:
    assert toxicity.heard("nobody wants you here, you worthless fool") > 0.5 > toxicity.lexicon("you worthless fool")
    for harmless in (
        "how do i kill the process?",
        "An idiot-proof guide to the server",
        "Fresh bread at seven",
        "🌊",
        "",
    ):
        assert toxicity.heard(harmless) < 0.5, harmless
