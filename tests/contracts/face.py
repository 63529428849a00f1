"""What every face must do, whoever wrote it: subclass `FaceContract` and give it a connection to a platform that is
empty, whose posts nobody else sees.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from accounts import clock
from accounts.tenancy import tenant
from faces.contract import Face, OutgoingImage, OutgoingPost, Published
from faces.models import Connection
from tests.factories import PNG, make_organization

POST = OutgoingPost("The first post: naïve café, 日本, 👍🏽 and a link https://kilroy.example/a?b=c")


class FaceContract:
    """Tests of one connection. `connection` is made within `organization`, which is the active tenant."""

    @pytest.fixture
    def organization(self, db: None) -> Iterator[None]:
        with tenant(make_organization().pk):
            yield

    @pytest.fixture
    def connection(self, organization: None) -> Connection:
        raise pytest.fail.Exception("A FaceContract needs a `connection`.")

    @pytest.fixture
    def face(self, connection: Connection) -> Face:
        return connection.face

    def _publish(self, face: Face, post: OutgoingPost = POST, key: str = "") -> tuple[Published, str]:
        key = key or uuid.uuid4().hex
        return face.publish(post, key), key

    def test_what_it_says_of_itself_holds_together(self, face: Face) -> None:
        can = face.capabilities
        assert can.max_length > 0
        assert can.batch > 0
        assert can.metrics
        assert can.max_images >= 0
        assert all(limit.calls > 0 and limit.seconds > 0 for limit in can.limits)
        assert can.can_reply or not can.can_thread

    def test_an_account_in_order_is_verified(self, face: Face) -> None:
        found = face.verify()
        assert found.ok, found.missing
        assert found.account

    def test_what_was_published_is_found_read_and_deleted(self, face: Face) -> None:
        began = clock.now() - timedelta(minutes=5)
        published, key = self._publish(face)
        assert published.remote_id
        assert published.at.tzinfo is not None
        assert abs(published.at - clock.now()) < timedelta(minutes=5)
        found = [each.remote_id for each in face.find(key, POST, began)]
        assert found == [published.remote_id]
        reading = face.metrics([published.remote_id])[published.remote_id]
        assert reading is not None
        assert set(reading.metrics) <= set(face.capabilities.metrics)
        face.delete(published.remote_id)
        assert face.metrics([published.remote_id]) == {published.remote_id: None}
        face.delete(published.remote_id)  # deleting what is gone is not an error

    def test_nothing_is_found_of_a_post_that_was_never_sent(self, face: Face) -> None:
        self._publish(face)
        never = OutgoingPost("Something else altogether")
        assert list(face.find(uuid.uuid4().hex, never, clock.now() - timedelta(minutes=5))) == []

    def test_the_same_key_again_leaves_one_post(self, face: Face) -> None:
        if face.capabilities.idempotency != "key":
            pytest.skip("this platform has no keys")
        first, key = self._publish(face)
        again = face.publish(POST, key)
        assert again.remote_id == first.remote_id
        other, _ = self._publish(face, replace(POST, text=POST.text + " again"))
        assert other.remote_id != first.remote_id

    def test_of_several_posts_the_first_ones_are_published_in_their_order(self, face: Face) -> None:
        posts = [OutgoingPost(f"Post number {number}") for number in range(3)]
        published = face.publish_some([(post, uuid.uuid4().hex) for post in posts])
        assert 1 <= len(published) <= len(posts)
        assert len({each.remote_id for each in published}) == len(published)
        assert list(face.metrics([each.remote_id for each in published])) == [each.remote_id for each in published]

    def test_history_is_the_own_posts_oldest_first(self, face: Face) -> None:
        if "history" not in face.capabilities.reads:
            pytest.skip("this platform shows no history")
        texts = [f"Post number {number}" for number in range(3)]
        ids = [self._publish(face, OutgoingPost(text))[0].remote_id for text in texts]
        posts = list(face.history(None))
        assert [(post.remote_id, post.text) for post in posts] == list(zip(ids, texts, strict=True))
        assert list(face.history(clock.now() + timedelta(days=1))) == []

    def test_the_parts_of_a_thread_answer_each_other(self, face: Face) -> None:
        if not face.capabilities.can_thread:
            pytest.skip("this platform has no threads")
        ids = [self._publish(face, OutgoingPost("Part 1"))[0].remote_id]
        for number in (2, 3):
            part = OutgoingPost(f"Part {number}", reply_to=ids[-1])
            ids.append(self._publish(face, part)[0].remote_id)
        assert self.shown_thread(face, ids) == ["", *ids[:2]]

    def shown_thread(self, face: Face, ids: list[str]) -> list[str]:
        """What each of these posts answers, as the platform shows it."""
        answers = {post.remote_id: post.reply_to for post in face.history(None)}
        return [answers[remote_id] for remote_id in ids]

    def test_an_image_is_published_with_its_alternative_text(self, face: Face) -> None:
        if not face.capabilities.takes_images:
            pytest.skip("this platform takes no images")
        post = OutgoingPost("With an image", (OutgoingImage(PNG, "image/png", "A red pixel"),))
        assert face.objection(post) == ""
        assert self._publish(face, post)[0].remote_id

    def test_a_post_that_fits_meets_no_objection_and_one_that_does_not_is_told_why(self, face: Face) -> None:
        assert face.objection(POST) == ""
        too_long = "word " * face.capabilities.max_length
        assert face.count(too_long) > face.capabilities.max_length
        assert face.objection(OutgoingPost(too_long))
        assert face.excess(POST.text) <= 0 < face.excess(too_long)
