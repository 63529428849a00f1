"""Posts over the API: proposed, edited, decided on, scheduled, taken down; one by one or many at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.csv_out import csv_blocks
from accounts.parsers import StrictJSONParser
from accounts.problems import Conflict
from accounts.schema import FORM, JSON
from accounts.streamed import Csv, Octets, Streamed, download, rows_of
from bots.models import Post, PostImage
from bots.post_filters import PostFilter
from bots.post_serializers import (
    ApproveSerializer,
    AtSerializer,
    BatchSerializer,
    ChosenOverSerializer,
    EditSerializer,
    IllustratedPostSerializer,
    ImageSerializer,
    OutcomeSerializer,
    PostSerializer,
    ReasonSerializer,
    chosen_over,
)
from bots.services import delivery, posts, scheduling, threads
from bots.states import IllegalTransition, PostState
from faces.contract import FaceError

COLUMNS = (
    "id", "bot", "state", "arm", "kind", "text", "created_at", "published_at", "remote_url", "reward", "model_version",
)  # fmt: skip


class PostViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Post.objects.select_related("reward", "connection").prefetch_related("images", "verdicts")
    serializer_class = PostSerializer
    filterset_class = PostFilter
    parser_classes = (StrictJSONParser, MultiPartParser)
    ordering_fields = ("created_at", "published_at", "slot_utc")
    commits_midway = frozenset({"take_down", "destroy"})  # the platform cannot be rolled back
    permissions: ClassVar[dict[str, str]] = {
        "list": "post_view",
        "retrieve": "post_view",
        "create": "post_write",
        "partial_update": "post_write",
        "destroy": "post_write",
        "approve": "post_approve",
        "decline": "post_approve",
        "cancel": "post_write",
        "schedule": "schedule_edit",
        "unschedule": "schedule_edit",
        "publish_now": "post_approve",
        "take_down": "post_approve",
        "batch": "post_approve",
        "candidates": "post_view",
        "csv": "post_view",
    }

    @extend_schema(request={JSON: PostSerializer, FORM: IllustratedPostSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Propose a post, or with `thread` several: the rules and the bot's approval policy decide where each begins.
        The answer is the first. Images come as `multipart/form-data`, with one `alt_texts` for each of `image_files`.
        """
        serializer = IllustratedPostSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        drafts = [posts.Draft(data["text"], images=data["pictures"], reply_to=data.get("reply_to", ""))]
        drafts += [posts.Draft(text) for text in data.get("thread", [])]
        post = threads.propose_thread(data["bot"], drafts)[0]
        return self._answer(post.pk, status.HTTP_201_CREATED)

    @extend_schema(request=EditSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change the text; the post needs approval again."""
        self.get_object()  # a post that is not there is told before what is wrong with the text
        data = EditSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return self._act(posts.edit_post, text=data.validated_data["text"])

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Take a published post down from its platform (which asks for `post_approve`, too), or cancel one that was not
        sent. The row stays as a record; it goes with its bot.
        """
        post = self.get_object()
        if post.state == PostState.PUBLISHED:
            self._also("post_approve")
            self._act(delivery.take_down_post)
        elif post.state not in (PostState.CANCELLED, PostState.DELETED):
            self._act(posts.cancel_post)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=ApproveSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Let the post be published: it takes the next free slot of its bot's schedule."""
        data = ApproveSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return self._act(posts.approve_post, seen_sha256=data.validated_data["payload_sha256"] or None)

    @extend_schema(request=ReasonSerializer)
    @action(detail=True, methods=["post"])
    def decline(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Reject a proposed post; it stays as a record, and as a lesson. (`rejected` is what a platform does.)"""
        data = ReasonSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return self._act(posts.decline_post, reason=data.validated_data["reason"])

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Withdraw a post that has not been sent, for good."""
        return self._act(posts.cancel_post)

    @extend_schema(request=AtSerializer)
    @action(detail=True, methods=["post"])
    def schedule(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give an approved post a moment of your choice as its slot. Another post's slot is refused."""
        self.get_object()
        data = AtSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return self._act(scheduling.schedule_post, at=data.validated_data["at"])

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def unschedule(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Take the post's slot back: it waits in its queue, approved, for the next free one."""
        return self._act(scheduling.unschedule_post)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="publish-now")
    def publish_now(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give an approved post this very moment as its slot."""
        return self._act(scheduling.publish_now)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="take-down")
    def take_down(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete a published post on its platform."""
        return self._act(delivery.take_down_post)

    @extend_schema(request=BatchSerializer, responses={200: OutcomeSerializer(many=True)})
    @action(detail=False, methods=["post"], pagination_class=None, filter_backends=[])
    def batch(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Approve, decline, cancel or edit up to 200 posts, each by itself: the answers stand in the order of the
        question, and one that fails keeps none of the others. Cancelling and editing ask for `post_write`, too.
        """
        data = BatchSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        choice = data.validated_data["action"]
        if choice in ("cancel", "edit"):
            self._also("post_write")
        return Response([_outcome(choice, asked) for asked in data.validated_data["posts"]])

    @extend_schema(responses=ChosenOverSerializer(many=True))
    @action(detail=True, pagination_class=None, filter_backends=[])
    def candidates(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The candidates among which this post was chosen, itself first, as far as they were kept."""
        return Response(ChosenOverSerializer(chosen_over(self.get_object()), many=True).data)

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    @action(detail=False, pagination_class=None, renderer_classes=[JSONRenderer, Csv])
    def csv(self, request: Request, *args: Any, **kwargs: Any) -> Streamed:
        """The posts that the filters leave, as CSV. Cells that a spreadsheet would compute begin with an apostrophe."""
        found = self.filter_queryset(Post.objects.select_related("reward"))
        return download(csv_blocks(COLUMNS, map(_cells, rows_of(found))), "posts.csv", "text/csv; charset=utf-8")

    def _also(self, permission: str) -> None:
        if not self.membership.allows(permission):
            raise PermissionDenied(f"This needs the permission {permission}, too.")

    def _act(self, verb: Any, **arguments: Any) -> Response:
        post_id = self.get_object().pk
        try:
            verb(post_id, **arguments)
        except (IllegalTransition, FaceError) as error:
            raise Conflict(str(error)) from None
        return self._answer(post_id)

    def _answer(self, post_id: UUID, code: int = status.HTTP_200_OK) -> Response:
        return Response(self.get_serializer(self.get_queryset().get(pk=post_id)).data, status=code)


VERBS: dict[str, Callable[[dict[str, Any]], Post]] = {
    "approve": lambda asked: posts.approve_post(asked["id"], seen_sha256=asked["payload_sha256"] or None),
    "decline": lambda asked: posts.decline_post(asked["id"], reason=asked["reason"]),
    "cancel": lambda asked: posts.cancel_post(asked["id"]),
    "edit": lambda asked: posts.edit_post(asked["id"], text=asked["text"]),
}


def _outcome(choice: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What became of one post of a batch."""
    try:
        post = VERBS[choice](asked)
    except Post.DoesNotExist:
        return {"id": asked["id"], "status": 404, "state": None, "detail": "There is no such post."}
    except IllegalTransition as error:
        return {"id": asked["id"], "status": 409, "state": error.old, "detail": str(error)}
    except ValidationError as error:
        return {"id": asked["id"], "status": 400, "state": None, "detail": " ".join(error.messages)}
    return {"id": asked["id"], "status": 200, "state": post.state, "detail": ""}


def _cells(post: Post) -> list[Any]:
    reward = post.reward.value if hasattr(post, "reward") else None
    known = (post.pk, post.bot_id, post.state, post.arm, post.kind, post.text, post.created_at, post.published_at)
    return [*known, post.remote_url, reward, post.model_version_id]


class ImageViewSet(mixins.RetrieveModelMixin, OrganizationViewSet):
    """Images of posts; a post's own `images` name their ids."""

    queryset: QuerySet[PostImage] = PostImage.objects.all()
    serializer_class = ImageSerializer
    permissions: ClassVar[dict[str, str]] = {"retrieve": "post_view", "file": "post_view"}

    @extend_schema(responses={(200, "image/*"): OpenApiTypes.BINARY})
    @action(detail=True, renderer_classes=[JSONRenderer, Octets])
    def file(self, request: Request, *args: Any, **kwargs: Any) -> Streamed:
        """The image itself."""
        image = self.get_object()
        blocks = image.file.open("rb").chunks()
        return download(iter(blocks), image.file.name.rsplit("/", 1)[-1], image.media_type, size=image.file.size)
