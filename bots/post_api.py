"""Posts over the API: proposed, edited, decided on, scheduled, taken down; one by one or many at once."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import PermissionDenied
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
from accounts.parsers import StrictJSONParser
from accounts.problems import Conflict
from accounts.schema import FORM, JSON
from accounts.streamed import Csv, Octets, Streamed, download
from bots.models import Post, PostImage
from bots.post_csv import posts_csv
from bots.post_csv_serializers import CsvRowSerializer, CsvSerializer, ImportCsvSerializer, ImportedPostsSerializer
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
from bots.sanction_api import ReportSerializer
from bots.services import bulk, csv_import, delivery, posts, reports, scheduling, threads
from bots.states import IllegalTransition, PostState
from bots.why_api import WhyActions
from faces.contract import FaceError


class PostViewSet(WhyActions, mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
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
        "report": "post_view",
        "batch": "post_approve",
        "candidates": "post_view",
        "why": "post_view",
        "csv": "post_view",
        "preview_csv": "post_write",
        "import_csv": "post_write",
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

    @extend_schema(request=ReportSerializer, responses={204: None})
    @action(detail=True, methods=["post"])
    def report(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Tell the operator of the installation that this post should not be there."""
        post = self.get_object()
        data = ReportSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        reports.report_post(post.pk, **data.validated_data)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=BatchSerializer, responses={200: OutcomeSerializer(many=True)})
    @action(detail=False, methods=["post"], pagination_class=None, filter_backends=[])
    def batch(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Approve, decline, cancel, edit or unschedule up to 200 posts, each by itself: the answers stand in the order
        of the question, and one that fails keeps none of the others. Cancelling and editing ask for `post_write`, too,
        unscheduling for `schedule_edit`.
        """
        data = BatchSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        choice = data.validated_data["action"]
        self._also(bulk.PERMISSIONS[choice])
        return Response(OutcomeSerializer(bulk.act(choice, data.validated_data["posts"]), many=True).data)

    @extend_schema(responses=ChosenOverSerializer(many=True))
    @action(detail=True, pagination_class=None, filter_backends=[])
    def candidates(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The candidates among which this post was chosen, itself first, as far as they were kept."""
        return Response(ChosenOverSerializer(chosen_over(self.get_object()), many=True).data)

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    @action(detail=False, pagination_class=None, renderer_classes=[JSONRenderer, Csv])
    def csv(self, request: Request, *args: Any, **kwargs: Any) -> Streamed:
        """The posts that the filters leave, as CSV. Cells that a spreadsheet would compute begin with an apostrophe."""
        return posts_csv(self.filter_queryset(Post.objects.all()))

    @extend_schema(request=CsvSerializer, responses=CsvRowSerializer(many=True))
    @action(detail=False, methods=["post"], url_path="preview-csv", pagination_class=None, filter_backends=[])
    def preview_csv(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What importing this CSV would do with each of its rows, without doing it."""
        data = self._given(CsvSerializer)
        rows = csv_import.preview(data["bot"], data["content"], data["zone"])
        return Response(CsvRowSerializer(rows, many=True).data)

    @extend_schema(request=ImportCsvSerializer, responses={201: ImportedPostsSerializer})
    @action(detail=False, methods=["post"], url_path="import-csv", pagination_class=None, filter_backends=[])
    def import_csv(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make posts of the rows that the preview keeps. `approve` asks for `post_approve` and `schedule_edit`, too."""
        data = self._given(ImportCsvSerializer)
        if data["approve"]:
            self._also("post_approve")
            self._also("schedule_edit")
        done = csv_import.import_csv(data["bot"], data["content"], data["zone"], approve=data["approve"])
        return Response(ImportedPostsSerializer(done).data, status=status.HTTP_201_CREATED)

    def _given(self, kind: type[CsvSerializer]) -> dict[str, Any]:
        data = kind(data=self.request.data)
        data.is_valid(raise_exception=True)
        return dict(data.validated_data)

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
