"""Posts as the API shows them and is told of them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from rest_framework import serializers

from bots.models import Bot, Post, PostImage, ReplyCandidate, Verdict
from bots.services import bulk, posts
from faces.contract import OutgoingImage


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_blank=True, max_length=300, default="")


class ImageSerializer(serializers.ModelSerializer[PostImage]):
    class Meta:
        model = PostImage
        fields = ("id", "media_type", "sha256", "alt_text")


class VerdictSerializer(serializers.ModelSerializer[Verdict]):
    class Meta:
        model = Verdict
        fields = ("rule", "value", "reason")


class PostSerializer(serializers.ModelSerializer[Post]):
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    reward = serializers.FloatField(source="reward.value", read_only=True, default=None, allow_null=True)
    simulated = serializers.BooleanField(source="connection.simulated", read_only=True)
    images = ImageSerializer(many=True, read_only=True)
    verdicts = VerdictSerializer(many=True, read_only=True)
    thread = serializers.ListField(
        child=serializers.CharField(max_length=100_000),
        required=False,
        write_only=True,
        max_length=50,
        help_text="Texts of the parts that follow, each sent as a reply to the one before.",
    )

    class Meta:
        model = Post
        fields: tuple[str, ...] = (
            "id",
            "bot",
            "kind",
            "reply_to",
            "continues",
            "text",
            "thread",
            "images",
            "arm",
            "state",
            "payload_sha256",
            "approved_by",
            "approved_at",
            "decline_reason",
            "slot_utc",
            "published_at",
            "remote_id",
            "remote_url",
            "last_error",
            "reward",
            "simulated",
            "model_version_id",
            "provenance",
            "verdicts",
            "created_at",
        )
        read_only_fields = tuple(set(fields) - {"bot", "text", "reply_to", "thread"})
        json_fields: ClassVar[dict[str, Any]] = {"provenance": {"type": "object", "additionalProperties": {}}}
        extra_kwargs: ClassVar[dict[str, Any]] = {
            "text": {"required": True, "allow_blank": False, "trim_whitespace": True}
        }


class IllustratedPostSerializer(PostSerializer):
    """A new post, with images where there are some; forms carry these."""

    image_files = serializers.ListField(
        child=serializers.ImageField(),
        required=False,
        write_only=True,
        max_length=10,
        help_text="PNG, JPEG, GIF, WebP.",
    )
    alt_texts = serializers.ListField(
        child=serializers.CharField(max_length=1500),
        required=False,
        write_only=True,
        max_length=10,
        help_text="One for each of `image_files`: what it shows, for people who cannot see it.",
    )

    class Meta(PostSerializer.Meta):
        fields = (*PostSerializer.Meta.fields, "image_files", "alt_texts")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        files, alt_texts = attrs.pop("image_files", []), attrs.pop("alt_texts", [])
        if len(files) != len(alt_texts):
            raise ValidationError({"alt_texts": "Describe each image in words: send one alt_texts for each of them."})
        attrs["pictures"] = tuple(map(_picture, files, alt_texts))
        return attrs


def _picture(file: UploadedFile[Any], alt_text: str) -> OutgoingImage:
    if (file.size or 0) > posts.LARGEST_IMAGE:
        raise ValidationError({"image_files": posts.TOO_LARGE})
    # The type that the image library found, not the one that the client claims.
    found = getattr(getattr(file, "image", None), "format", "") or ""
    file.seek(0)
    return OutgoingImage(file.read(), f"image/{found.lower()}", alt_text)


class EditSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=100_000)


class ApproveSerializer(serializers.Serializer[Any]):
    payload_sha256 = serializers.CharField(
        required=False, default="", help_text="What you saw; refused if the post has changed since."
    )


class AtSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField(help_text="When the post is to be sent.")


class OneOfManySerializer(serializers.Serializer[Any]):
    """One post of a batch; what its action does not ask for is not looked at."""

    id = serializers.UUIDField()
    payload_sha256 = serializers.CharField(
        required=False, default="", max_length=64, allow_blank=True, help_text="Of `approve`: what you saw."
    )
    reason = serializers.CharField(
        required=False, default="", max_length=300, allow_blank=True, help_text="Of `decline`."
    )
    text = serializers.CharField(required=False, default="", max_length=100_000, help_text="Of `edit`.")


class BatchSerializer(serializers.Serializer[Any]):
    action = serializers.ChoiceField(choices=["approve", "decline", "cancel", "edit", "unschedule"])
    posts = OneOfManySerializer(many=True, allow_empty=False, max_length=bulk.MOST)  # type: ignore[call-arg]  # it is the list's


class OutcomeSerializer(serializers.Serializer[Any]):
    """What became of one post: `status` is what the same request for it alone would have answered with."""

    id = serializers.UUIDField()
    status = serializers.IntegerField()
    state = serializers.CharField(allow_null=True)
    detail = serializers.CharField()


class ChosenOverSerializer(serializers.Serializer[Any]):
    text = serializers.CharField()
    chosen = serializers.BooleanField()
    score = serializers.FloatField(
        allow_null=True, help_text="What the reward model expected of it: standard units, or the class of its upvotes."
    )
    realism = serializers.FloatField(allow_null=True, help_text="The probability that a person wrote it; of answers.")
    verdict = serializers.CharField(help_text="Why it was not taken; of answers.")


def _answers(post: Post) -> list[ReplyCandidate]:
    return list(ReplyCandidate.objects.filter(incoming__answer=post).order_by("-chosen", "position"))


def chosen_over(post: Post) -> list[dict[str, Any]]:
    """The candidates of a post: an answer's as they were ranked, another post's from its provenance."""
    if post.kind == Post.Kind.REPLY and (drawn := _answers(post)):
        names = ("text", "chosen", "score", "realism", "verdict")
        return [{name: getattr(candidate, name) for name in names} for candidate in drawn]
    own = (post.text, post.provenance.get("predicted"))
    texts = [own, *map(tuple, post.provenance.get("beaten", ()))]
    return [
        {"text": text, "chosen": at == 0, "score": score, "realism": None, "verdict": ""}
        for at, (text, score) in enumerate(texts)
    ]
