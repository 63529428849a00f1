"""The life of a post: the table of steps, in Python and in the database."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from itertools import product

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.tenancy import tenant
from bots import states
from bots.models import Post
from bots.services import posts as services
from bots.states import TRANSITIONS, IllegalTransition, PostState
from tests.factories import World, make_bot, make_post

STEPS = [(old, new) for old, new in product(PostState, PostState) if old != new]


def test_the_database_holds_exactly_the_table(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = 'bots_post_transition'")
        (source,) = cursor.fetchone()
    assert sorted(re.findall(r"\('(\w+)', '(\w+)'\)", source)) == states.sql_pairs()


def test_the_database_refuses_every_step_that_the_table_does_not_have(world: World) -> None:
    taken = set()
    with tenant(world.acme.pk):
        bot = make_bot()
        made = {state: make_post(bot, state) for state in PostState}
        published_at = made[PostState.PUBLISHED].published_at
        assert published_at is not None
        complete = {
            "approved_sha256": "0" * 64,
            "slot_utc": published_at + timedelta(days=9),
            "remote_id": "the one",
            "published_at": published_at,
        }
        for old, new in STEPS:
            savepoint = transaction.savepoint()
            with suppress(IntegrityError), transaction.atomic():
                Post.objects.filter(pk=made[old].pk).update(state=new, **complete)
                taken.add((old.value, new.value))
            transaction.savepoint_rollback(savepoint)
    assert sorted(taken) == states.sql_pairs()


@pytest.mark.parametrize(("old", "new"), STEPS)
def test_the_application_refuses_the_same(old: PostState, new: PostState) -> None:
    post = Post(state=old)
    if new in TRANSITIONS[old]:
        post.move(new)
        assert post.state == new
    else:
        with pytest.raises(IllegalTransition) as refused:
            post.move(new)
        assert PostState(old).label in str(refused.value)
        assert PostState(new).label in str(refused.value)
        assert post.state == old


SERVICES = {
    "approve": (services.approve_post, PostState.APPROVED),
    "decline": (services.decline_post, PostState.DECLINED),
    "cancel": (services.cancel_post, PostState.CANCELLED),
}


@pytest.mark.parametrize("verb", list(SERVICES))
def test_what_people_do_follows_the_table(world: World, verb: str) -> None:
    act, new = SERVICES[verb]
    outcomes = {}
    with tenant(world.acme.pk):
        bot = make_bot()
        for old in PostState:
            post = make_post(bot, old)
            try:
                outcomes[old] = act(post.pk).state
            except IllegalTransition:
                outcomes[old] = "refused"
            post.refresh_from_db()
            assert post.state == (new if outcomes[old] == new else old)
    assert outcomes == {old: new if new in TRANSITIONS[old] else "refused" for old in PostState}


def test_editing_is_for_posts_that_were_not_sent(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        for old in PostState:
            post = make_post(bot, old)
            if old in states.EDITABLE:
                assert services.edit_post(post.pk, f"Something else, once {old}").state == PostState.PENDING_REVIEW
            else:
                with pytest.raises(IllegalTransition):
                    services.edit_post(post.pk, f"Something else, once {old}")


def test_a_state_that_does_not_exist_is_refused_by_the_database(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        with pytest.raises(IntegrityError, match="post_state"), transaction.atomic():
            make_post(bot, "flying")


@pytest.mark.parametrize(
    ("state", "lacking", "constraint"),
    [
        ("approved", {"approved_sha256": ""}, "post_approved_has_hash"),
        ("queued", {"approved_sha256": ""}, "post_approved_has_hash"),
        ("scheduled", {"slot_utc": None}, "post_scheduled_has_slot"),
        ("published", {"remote_id": None}, "post_published_has_proof"),
        ("published", {"published_at": None}, "post_published_has_proof"),
        ("pending_review", {"kind": "reply"}, "post_reply_has_target"),
        ("pending_review", {"arm": "treatment"}, "post_arm"),
    ],
)
def test_the_database_wants_what_a_state_stands_for(
    world: World, state: str, lacking: dict[str, object], constraint: str
) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            make_post(bot, state, **lacking)
