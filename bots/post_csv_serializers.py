"""CSV of posts, as the API is given it and answers."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from rest_framework import serializers

from bots import calendar
from bots.models import Bot, check_zone
from bots.services import queue


class CsvSerializer(serializers.Serializer[Any]):
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.select_related("connection", "organization"))
    content = serializers.CharField(
        max_length=queue.MOST_BYTES,
        trim_whitespace=False,
        help_text="The CSV: its first row names the columns, “text” and where there are times “at”.",
    )
    zone = serializers.CharField(
        required=False,
        max_length=60,
        validators=[check_zone],
        help_text="Of times without an offset; the time zone of the bot's schedule unless given.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        zone = ZoneInfo(attrs["zone"]) if "zone" in attrs else calendar.zone_of(attrs["bot"])
        return attrs | {"zone": zone}


class ImportCsvSerializer(CsvSerializer):
    approve = serializers.BooleanField(
        default=False,
        help_text="These are a person's own words: approve those that no rule wants looked at, and keep their times.",
    )


class CsvRowSerializer(serializers.Serializer[Any]):
    """A row, why it is left out or to be looked at, its time (UTC), and why that cannot be kept; "" and null where it
    is none of that.
    """

    number = serializers.IntegerField(source="line.number")
    text = serializers.CharField(source="line.text")
    dropped = serializers.CharField(source="line.dropped")
    flagged = serializers.CharField(source="line.flagged")
    at = serializers.DateTimeField(allow_null=True)
    late = serializers.CharField()


class ImportedPostsSerializer(serializers.Serializer[Any]):
    posts = serializers.SerializerMethodField(help_text="Ids of the posts that were made.")
    timed = serializers.IntegerField(help_text="How many of them have their time.")
    untimed = serializers.ListField(child=serializers.CharField(), help_text="Why others do not.")

    def get_posts(self, imported: Any) -> list[str]:
        return [str(post.pk) for post in imported.posts]
