"""A person's own posts from a CSV: a text each, and where they want one, a time. They go the same way as the lines of
a queue's file: the same rules, the same approval, nothing twice.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import clock
from accounts.csv_out import plain
from bots import calendar
from bots.models import Bot, Post
from bots.services import moving, posts, queue, scheduling
from bots.states import PostState

TEXT, TIME = ("text", "post"), ("at", "time", "publish_at")
"""What the columns may be called; the first row names them, others are left alone."""


@dataclass(frozen=True)
class Row:
    """A row of the file: what would become of its text, when it is wanted (UTC), and why that time cannot be kept."""

    line: queue.Line
    at: datetime | None = None
    late: str = ""

    @property
    def kept(self) -> bool:
        return not self.line.dropped


@dataclass(frozen=True)
class Imported:
    """What an import made: posts, those of them that have their time, and the rows whose time was not to be had."""

    posts: list[Post]
    timed: int
    untimed: list[str]


def preview(bot: Bot, content: bytes | str, zone: ZoneInfo) -> list[Row]:
    """What importing this CSV would do with each row, without doing it. Times are local in `zone` where they name no
    offset. Raises ValidationError for what is no CSV, has no column of texts, is too long or empty.
    """
    earlier, taken, rows = posts.earlier_texts(bot), set[datetime](), []
    for number, text, written in _read(content):
        line = queue.look(bot, number, text, earlier)
        at, problem = _moment(written, zone)
        if line.dropped or problem:
            rows.append(Row(line if line.dropped else queue.Line(number, text, dropped=problem)))
            continue
        earlier.add(text)
        late = _why_not(bot, at, taken) if at else ""
        if at and not late:
            taken.add(at)
        rows.append(Row(line, at, late))
    return rows


def import_csv(bot: Bot, content: bytes | str, zone: ZoneInfo, *, approve: bool) -> Imported:
    """Make posts of the rows that the preview keeps. With `approve` those that no rule flagged are approved by that
    person, and get their times; the others wait for review, and without a time. Raises ValidationError as `preview`.
    """
    kept = [row for row in preview(bot, content, zone) if row.kept]
    made: list[Post] = []
    timed, untimed = 0, []
    for first in range(0, len(kept), queue.BATCH):
        batch, told, count = _add(bot, kept[first : first + queue.BATCH], approve)
        made += batch
        timed += count
        untimed += told
    return Imported(made, timed, untimed)


@transaction.atomic
def _add(bot: Bot, rows: Sequence[Row], approve: bool) -> tuple[list[Post], list[str], int]:
    made = queue.add(bot, [row.line for row in rows], approve)
    untimed, timed = [], 0
    for row, post in zip(rows, made, strict=True):
        if row.at is None:
            continue
        if told := row.late or _schedule(post, row.at):
            untimed.append(f"Row {row.line.number}: {told}")
        else:
            timed += 1
    return made, untimed, timed


def _schedule(post: Post, at: datetime) -> str:
    """Give the post its time; why not, in words, or ""."""
    if post.state != PostState.APPROVED:
        return f"It is “{PostState(post.state).label}”: choose its time once it is approved."
    try:
        with transaction.atomic():
            scheduling.schedule_post(post.pk, at)
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


def _read(content: bytes | str) -> list[tuple[int, str, str]]:
    """(number of the row, text, time as written) of the rows that are not blank. Raises ValidationError."""
    raw = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    if len(raw) > queue.MOST_BYTES:
        raise ValidationError({"file": f"The file is larger than {queue.MOST_BYTES / 1e6:g} MB: divide it."})
    try:
        rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError:
        raise ValidationError({"file": "This is no UTF-8 text: save the file as “CSV UTF-8”."}) from None
    except csv.Error as error:
        raise ValidationError(
            {"file": f"This is no CSV: {error}. Save the file as CSV, separated by commas."}
        ) from None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    text = next((names.index(name) for name in TEXT if name in names), None)
    if text is None:
        raise ValidationError({"file": "The first row names the columns, and one of them has to be “text”."})
    time = next((names.index(name) for name in TIME if name in names), None)
    found = [
        (number, plain(_cell(row, text)).replace("\r\n", "\n").strip(), _cell(row, time).strip())
        for number, row in enumerate(rows[1:], 2)
        if _cell(row, text).strip()
    ]
    if not found:
        raise ValidationError({"file": "There is no post in it: each row below the first is one."})
    if len(found) > queue.MOST_LINES:
        most = f"at most {queue.MOST_LINES:,} can be imported at once"
        raise ValidationError({"file": f"It has {len(found):,} posts; {most}: divide it."})
    return found


def _cell(row: Sequence[str], column: int | None) -> str:
    return row[column] if column is not None and column < len(row) else ""


def _moment(written: str, zone: ZoneInfo) -> tuple[datetime | None, str]:
    """The moment that a cell names, or what is wrong with it."""
    if not written:
        return None, ""
    try:
        return calendar.local_moment(written, zone), ""
    except ValueError:
        return None, f"“{written[:40]}” is no time: write it like 2030-01-31 09:00, or with its offset."


def _why_not(bot: Bot, at: datetime, taken: set[datetime]) -> str:
    """Why a post could not have this moment; "" when it could."""
    now = clock.now()
    if not now <= at <= now + scheduling.FURTHEST:
        return f"Its time is past, or further away than {scheduling.FURTHEST.days} days: it waits for a slot."
    if at in taken or Post.objects.filter(bot=bot, slot_utc=at).exists():
        return f"Another post has {moving.words(at, bot)}: it waits for a slot."
    return ""
