"""The list of posts: filters, search, pages, many posts at once; CSV out and in; the composer; and two editors."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.messages import get_messages
from django.core.exceptions import ValidationError
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts import audit, clock
from accounts.csv_out import cell, plain
from accounts.models import Membership
from accounts.tenancy import tenant
from bots import post_filters, queries
from bots.models import Bot, Post
from bots.services import bulk, composing, csv_import, posts
from tests.factories import World, client_of, make_bot, make_post, make_reward, make_schedule
from tests.fake_platform import FakePlatform

UTC_ZONE = ZoneInfo("UTC")
NASTY = [
    "=SUM(A1) of bread",
    "+1 for rolls",
    "-5 degrees",
    "@home baking",
    "'=quoted formula",
    "''twice quoted''",
    "'single apostrophe",
    'Two\nlines, "marks"; and a comma',
    "ends with a backslash \\",
    "日本語 🍞",
]


@pytest.fixture
def bot(world: World) -> Iterator[Bot]:
    with tenant(world.acme.pk), audit.acting(audit.Actor("alice@kilroy.example", world.alice)):
        yield make_bot(name="Writer")


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


def address(bot: Bot, page: str = "") -> str:
    return f"/o/acme/bots/{bot.pk}/posts/{page}"


def texts(alice: Client, bot: Bot, query: str = "") -> list[str]:
    return [post["text"] for post in alice.get(address(bot) + query).context["posts"]]


def told(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_filters_leave_what_they_say(bot: Bot, alice: Client) -> None:
    good = make_post(bot, "published", "Good bread", arm="learning", provenance={"version": 3})
    make_reward(good, value=2.0)
    make_reward(make_post(bot, "published", "Bad bread", arm="baseline"), value=-2.0)
    old = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    make_post(bot, "published", "Old rolls", published_at=old)
    make_post(bot, "pending_review", "New rolls")
    make_schedule(bot, cron="0 9 * * *", zone="Europe/Warsaw")
    for query, expected in {
        "?state=pending_review": ["New rolls"],
        "?arm=learning": ["Good bread"],
        "?version=3": ["Good bread"],
        "?min_reward=0": ["Good bread"],
        "?max_reward=0": ["Bad bread"],
        "?text=ROLLS": ["New rolls", "Old rolls"],
        "?since=2026-03-02&until=2026-03-02": ["Old rolls"],  # a day of the schedule's zone
        "?since=2026-03-01&until=2026-03-01": [],
        "?text=rolls&state=published&kind=new": ["Old rolls"],
    }.items():
        assert texts(alice, bot, query) == expected, query
    assert alice.get(address(bot) + "?version=x&since=never").context["posts"] == []


def test_a_search_is_bounded_and_says_so(bot: Bot, alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_filters, "SEARCHED", 2)
    for number in range(3):
        make_post(bot, text=f"Bread {number}")
    assert texts(alice, bot, "?text=bread") == ["Bread 2", "Bread 1"]
    assert b"Looked through the newest" in alice.get(address(bot) + "?text=bread").content
    assert b"Looked through the newest" not in alice.get(address(bot)).content


def test_pages_follow_each_other_whatever_is_added(bot: Bot, alice: Client) -> None:
    for number in range(30):
        make_post(bot, text=f"Number {number}")
    first = alice.get(address(bot)).context
    make_post(bot, text="Meanwhile")
    following = texts(alice, bot, first["next_url"])
    assert [post["text"] for post in first["posts"]] + following == [f"Number {n}" for n in range(29, -1, -1)]
    assert alice.get(address(bot) + "?cursor=nonsense&state=declined")["Location"] == address(bot) + "?state=declined"


def test_counts_stop_at_their_bound(bot: Bot, alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "COUNTED", 2)
    for _ in range(4):
        make_post(bot)
    make_post(bot, "declined")
    found = {each["label"]: each["count"] for each in alice.get(address(bot)).context["filters"]}
    assert found == {"All": "2+", "Waiting for review": "2+", "Declined": "1"}
    assert {each["count"] for each in alice.get(address(bot) + "?arm=human").context["filters"]} == {""}


def test_the_page_asks_as_much_of_many_posts_as_of_few(
    bot: Bot, alice: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(26):
        make_reward(make_post(bot, "published", f"Bread {number}"))
    for query in ("", "?text=bread&arm=human&since=2020-01-01"):
        with django_assert_max_num_queries(15):
            assert len(texts(alice, bot, query)) == 25


def test_many_at_once_says_what_was_left_and_why(bot: Bot, alice: Client) -> None:
    waiting, edited, sent = make_post(bot), make_post(bot), make_post(bot, "published")
    form = {"choice": "approve", "post": [f"{post.pk}:{post.payload_sha256}" for post in (waiting, edited, sent)]}
    posts.edit_post(edited.pk, "Another text by somebody else")
    answer = alice.post(address(bot, "bulk/"), form | {"back": "?state=pending_review"})
    assert answer["Location"] == address(bot) + "?state=pending_review"
    assert told(answer) == [
        "1 post approved.",
        "1 post was left as it is: This post was edited after you opened it: look at it again, then approve.",
        "1 post was left as it is: A post that is “Published” cannot become “Approved”.",
    ]
    assert [Post.objects.get(pk=post.pk).state for post in (waiting, edited, sent)] == [
        "approved", "pending_review", "published",
    ]  # fmt: skip


def test_what_cannot_be_undone_is_asked_about_first(bot: Bot, alice: Client) -> None:
    post = make_post(bot)
    form = {"choice": "decline", "post": f"{post.pk}:", "reason": "Too long"}
    assert b"Decline 1 post?" in alice.post(address(bot, "bulk/"), form).content
    assert Post.objects.get(pk=post.pk).state == "pending_review"
    alice.post(address(bot, "bulk/"), form | {"sure": "1"})
    post.refresh_from_db()
    assert (post.state, post.decline_reason) == ("declined", "Too long")


def test_many_at_once_needs_the_right_of_one(bot: Bot, world: World) -> None:
    Membership.objects.filter(user=world.bob).update(role="moderator")
    bob, post = client_of(world.bob), make_post(bot)
    for choice in ("cancel", "unschedule"):
        answer = bob.post(address(bot, "bulk/"), {"choice": choice, "post": f"{post.pk}:", "sure": "1"})
        assert answer.status_code == 403, choice
    Membership.objects.filter(user=world.bob).update(role="viewer")
    assert bob.post(address(bot, "bulk/"), {"choice": "approve", "post": f"{post.pk}:"}).status_code == 403


def test_other_bots_posts_and_too_many_are_left_alone(bot: Bot, alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_post(make_bot())
    answer = alice.post(address(bot, "bulk/"), {"choice": "approve", "post": [f"{other.pk}:", "x:y"]})
    assert told(answer) == ["Tick some posts, and say what to do with them."]
    monkeypatch.setattr(bulk, "MOST", 1)
    pair = [f"{make_post(bot).pk}:" for _ in range(2)]
    assert "at most 1 posts" in told(alice.post(address(bot, "bulk/"), {"choice": "approve", "post": pair}))[-1]
    assert not Post.objects.filter(state="approved").exists()


def test_a_platform_that_refuses_a_deletion_stops_nothing(
    world: World, alice: Client, with_keys: Any, platform: FakePlatform
) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        gone = make_post(bot, "published")
        outcomes = bulk.act("take_down", [{"id": make_post(bot, "declined").pk}, {"id": gone.pk}])
    assert [(outcome.status, outcome.state) for outcome in outcomes] == [(409, "declined"), (200, "deleted")]


@pytest.mark.parametrize("text", [*NASTY, "", "\t=1", "\r@x", "'''-1", "' =1"])
def test_a_cell_can_be_read_back(text: str) -> None:
    assert plain(cell(text)) == text
    assert not cell(text).lstrip().startswith(("=", "+", "-", "@"))


def test_posts_go_out_as_csv_and_come_back_as_they_were(bot: Bot, alice: Client) -> None:
    for text in NASTY:
        make_post(bot, text=text.strip())
    out = b"".join(alice.get(address(bot, "csv/"))).decode()  # type: ignore[arg-type]  # it is streamed
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert len(rows) == len(NASTY)
    other = make_bot()
    made = csv_import.import_csv(other, out, UTC_ZONE, approve=False).posts
    assert {post.text for post in made} == {text.strip() for text in NASTY}


def test_only_ticked_or_found_posts_are_exported(bot: Bot, alice: Client) -> None:
    one, two = make_post(bot, text="One"), make_post(bot, "declined", "Two")
    make_post(make_bot(), text="Another bot's")
    ticked = b"".join(alice.post(address(bot, "csv/"), {"post": f"{one.pk}:{one.payload_sha256}"}))  # type: ignore[arg-type]
    found = b"".join(alice.get(address(bot, "csv/") + "?state=declined"))  # type: ignore[arg-type]
    assert [str(one.pk) in each.decode() for each in (ticked, found)] == [True, False]
    assert [str(two.pk) in each.decode() for each in (ticked, found)] == [False, True]


def test_a_csv_is_looked_through_before_it_is_added(bot: Bot, alice: Client) -> None:
    Bot.objects.filter(pk=bot.pk).update(blocklist=["forbidden"])
    tomorrow = (clock.now() + timedelta(days=1)).replace(second=0, microsecond=0)
    make_post(bot, "scheduled", slot_utc=tomorrow + timedelta(hours=1))
    lines = [
        "Text,At,Note",
        f"At a time,{tomorrow:%Y-%m-%dT%H:%M},x",
        f"The same time,{tomorrow:%Y-%m-%dT%H:%M}",
        f"Taken,{tomorrow + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}",
        "Past,2020-01-01T00:00",
        "No time at all,soon",
        "This is forbidden here,",
        "Whenever,",
    ]
    form = {"lines": "\n".join(lines), "zone": "UTC"}
    page = alice.post(address(bot, "import/"), form).context
    assert [(row.line.number, bool(row.at), bool(row.late)) for row in page["kept"]] == [
        (2, True, False), (3, True, True), (4, True, True), (5, True, True), (8, False, False),
    ]  # fmt: skip
    assert [row.line.number for row in page["dropped"]] == [6, 7]
    assert Post.objects.filter(bot=bot).count() == 1
    answer = alice.post(address(bot, "import/"), form | {"add": "1", "approve": "on"})
    assert told(answer)[0] == "5 posts added. 1 of them at its time."
    assert Post.objects.get(text="At a time").slot_utc == tomorrow
    assert Post.objects.get(text="Past").state == "approved"


def test_without_approval_a_csv_waits_for_review(bot: Bot) -> None:
    tomorrow = clock.now() + timedelta(days=1)
    done = csv_import.import_csv(bot, f"post,time\nHello there,{tomorrow:%Y-%m-%dT%H:%M}", UTC_ZONE, approve=False)
    assert (done.timed, done.posts[0].state) == (0, "pending_review")
    assert "choose its time once it is approved" in done.untimed[0]
    again = csv_import.import_csv(bot, "text\nHello there", UTC_ZONE, approve=True)
    assert again.posts == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "first row names the columns"),
        (b"body\nx", "first row names the columns"),
        (b"text\n\n ", "There is no post in it"),
        (b"text\n\xff", "no UTF-8"),
        (b'text\n"open', "no CSV"),
        (b"text\n" + b"x\n" * 1001, "1,001 posts"),
        (b"x" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_what_is_no_csv_of_posts_is_refused_in_words(bot: Bot, content: bytes, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        csv_import.preview(bot, content, UTC_ZONE)


def test_the_composer_sends_a_post_when_its_writer_says(bot: Bot) -> None:
    make_schedule(bot, cron="0 9 * * *")
    at = (clock.now() + timedelta(days=3)).replace(microsecond=0)
    made = [
        composing.compose(bot, [posts.Draft(text)], when, at)[0]  # type: ignore[arg-type]  # one of them
        for when, text in {"": "Bread", "queue": "Rolls", "at": "Cake", "now": "Tea at five"}.items()
    ]
    assert [post.state for post in made] == ["pending_review", "scheduled", "scheduled", "scheduled"]
    assert made[1].slot_utc is not None
    assert made[1].slot_utc.hour == 9
    assert made[2].slot_utc == at
    assert made[3].slot_utc is not None
    assert made[3].slot_utc <= clock.now()


def test_a_line_break_is_one_character(bot: Bot, alice: Client) -> None:
    alice.post(address(bot, "new/"), {"text": "One line\r\nand another"})
    post = Post.objects.get()
    assert post.text == "One line\nand another"
    alice.post(address(bot, f"{post.pk}/edit/"), {"text": "Rolls\r\nand bread"})
    assert Post.objects.get().text == "Rolls\nand bread"
    assert alice.post(address(bot, "count/"), {"text": "a\r\nb"}).json()["length"] == 3


def test_a_moment_that_cannot_be_had_makes_no_post(bot: Bot, alice: Client) -> None:
    form = {"text": "Early bread", "when": "at", "at": "2020-01-01T00:00", "zone": "UTC"}
    answer = alice.post(address(bot, "new/"), form)
    assert answer.status_code == 400
    assert "between now and" in str(answer.context["form"].errors["at"])
    assert b"Early bread" in answer.content
    assert not Post.objects.exists()


def test_what_a_rule_blocks_is_not_sent_whatever_its_writer_says(bot: Bot, alice: Client) -> None:
    Bot.objects.filter(pk=bot.pk).update(blocklist=["forbidden"])
    answer = alice.post(address(bot, "new/"), {"text": "A forbidden word", "when": "now"})
    assert Post.objects.get().state == "blocked"
    assert "forbidden" in told(answer)[0]


LINK = {"https://a.example/b": "link"}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("x", {"@alice": "mention", "@bob": "mention", "#bread": "hashtag"}),
        ("bluesky", {"#bread": "hashtag", "@bob.example.com": "mention"}),
        ("mastodon", {"@alice": "mention", "#bread": "hashtag", "@bob.example.com": "mention"}),
        ("discord", {}),
        ("reddit", {"r/bread": "mention"}),
    ],
)
def test_a_preview_marks_what_the_platform_makes_of_a_text(
    bot: Bot, alice: Client, kind: str, expected: dict[str, str]
) -> None:
    bot.connection.kind, bot.connection.settings = kind, {}
    bot.connection.save()
    text = "First line\nSee https://a.example/b, @alice and @bob.example.com: #bread #1 r/bread <b>"
    answer = alice.post(address(bot, "preview/"), {"text": text}, headers={"HX-Request": "true"})
    (part,) = answer.context["previewed"]
    assert {piece["text"]: piece["kind"] for piece in part["pieces"] if piece["kind"]} == expected | LINK
    assert part["title"] == ("First line" if kind == "reddit" else "")
    assert b"&lt;b&gt;" in answer.content
    assert {verdict.rule for verdict in part["verdicts"]} > {"length", "blocklist"}
    assert not Post.objects.exists()


def test_two_editors_lose_nothing(bot: Bot, alice: Client) -> None:
    post = make_post(bot, text="What alice opened")
    posts.edit_post(post.pk, "What bob made of it")
    url = address(bot, f"{post.pk}/edit/")
    form = {"text": "What alice made of it", "sha256": post.payload_sha256}
    answer = alice.post(url, form, headers={"HX-Request": "true"})
    for page in (answer.content.decode(), alice.post(url, form).content.decode()):
        assert "Somebody else changed this post" in page
        assert ">What bob made of it</p>" in page
        assert ">What alice made of it</textarea>" in page
    assert Post.objects.get().text == "What bob made of it"
    seen = answer.context["post"]["sha256"]
    alice.post(url, form | {"sha256": seen}, headers={"HX-Request": "true"})
    assert Post.objects.get().text == "What alice made of it"


def test_the_page_says_which_of_the_composers_forms_became_posts(bot: Bot, alice: Client) -> None:
    form = alice.get(address(bot)).context["draft"]
    assert form != alice.get(address(bot)).context["draft"]
    alice.post(address(bot, "new/"), {"text": "", "draft": form})
    assert alice.get(address(bot)).context["added"] == []
    alice.post(address(bot, "new/"), {"text": "A harbour at night", "draft": form})
    assert alice.get(address(bot)).context["added"] == [form]


def test_a_card_that_is_drawn_anew_can_be_ticked_where_it_could_be_before(bot: Bot, alice: Client) -> None:
    post = make_post(bot)
    card: Any = {"HX-Request": "true", "HX-Target": f"post-{post.pk}"}
    answers = [alice.get(address(bot, f"{post.pk}/{query}"), headers=card) for query in ("", "?ticks=1")]
    assert [b'type="checkbox"' in answer.content for answer in answers] == [False, True]
