"""Reddit's errors by name, each with what to do about it."""

from __future__ import annotations

import pytest

from faces.kinds.reddit.errors import MEANINGS, listed, named, refused, wait_in

WAITING = {"RATELIMIT", "SUBREDDIT_RATELIMIT", "QUOTA_FILLED"}
DOUBTFUL = {"SOMETHING_IS_BROKEN"}
CREDENTIALS = {"USER_REQUIRED", "OAUTH2_INVALID_REFRESH_TOKEN"}


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_every_name_has_its_meaning(name: str) -> None:
    error = named(name, "as Reddit says")
    assert str(error) == f"{MEANINGS[name].words} ({name}: as Reddit says)"
    assert error.permanent is (name not in WAITING | DOUBTFUL)
    assert error.credentials is (name in CREDENTIALS)
    assert error.sent is (name in DOUBTFUL)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SUBREDDIT_NOEXIST", "no such subreddit"),
        ("SUBREDDIT_NOTALLOWED", "may not post"),
        ("SUBMIT_VALIDATION_FLAIR_REQUIRED", "demands flair"),
        ("TOO_LONG", "too long"),
        ("THREAD_LOCKED", "locked"),
        ("DELETED_LINK", "deleted"),
    ],
)
def test_a_listed_error_is_told_in_plain_words(name: str, words: str) -> None:
    error = listed({"json": {"errors": [[name, "x", "sr"]]}})
    assert error is not None
    assert words in str(error)


def test_an_unknown_name_is_a_refusal_in_reddits_own_words() -> None:
    error = named("BRAND_NEW", "a new rule")
    assert (str(error), error.permanent, error.sent) == ("Reddit refused this. (BRAND_NEW: a new rule)", True, False)


def test_of_several_errors_the_one_that_waiting_does_not_mend() -> None:
    error = listed({"json": {"errors": [["RATELIMIT", "in 9 minutes", "x"], ["TOO_LONG", "too long", "title"]]}})
    assert error is not None
    assert (error.permanent, error.retry_after) == (True, None)
    assert listed({"json": {"errors": []}}) is None
    assert listed({"json": {"errors": None}}) is None
    assert listed({}) is None


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("Looks like you've been doing that a lot. Take a break for 9 minutes before trying again.", 540),
        ("you are doing that too much. try again in 7 seconds.", 7),
        ("Take a break for 1 minute before trying again.", 60),
        ("Take a break for an hour before trying again.", 3600),
        ("try again in 1 hour 30 minutes", 5400),
        ("try again in 500 milliseconds", 0.5),
        ("try again later", None),
    ],
)
def test_the_wait_is_read_from_words(told: str, seconds: float | None) -> None:
    assert wait_in(told) == seconds
    assert named("RATELIMIT", told).retry_after == seconds


def test_too_many_links_are_an_hour() -> None:
    assert named("QUOTA_FILLED", "You've submitted too many links recently. Try again later.").retry_after == 3600


def test_a_suspended_account_must_be_seen_to_by_its_owner() -> None:
    for status in (401, 403):
        error = refused(status, {}, '{"message": "Forbidden", "explanation": "This account has been suspended"}')
        assert (error.credentials, error.permanent, error.sent) == (True, True, False)


def test_a_missing_scope_must_be_allowed_again() -> None:
    error = refused(403, {"www-authenticate": 'Bearer realm="reddit", error="insufficient_scope"'}, "{}")
    assert (error.credentials, "allow all" in str(error)) == (True, True)


def test_a_page_of_the_edge_says_nothing_of_the_post() -> None:
    error = refused(403, {}, "<html>whoa there, pardner!</html>")
    assert (error.permanent, error.sent, error.credentials) == (False, False, False)


def test_a_refusal_that_names_its_reason() -> None:
    private = refused(403, {}, '{"reason": "private", "message": "Forbidden", "error": 403}')
    assert ("private" in str(private), private.status, private.permanent) == (True, 403, True)
    locked = refused(403, {}, '{"reason": "THREAD_LOCKED", "explanation": "locked", "message": "Forbidden"}')
    assert (str(locked), locked.credentials) == (f"{MEANINGS['THREAD_LOCKED'].words} (THREAD_LOCKED: locked)", False)
