"""The image card of a share link: what stands for it where it is posted."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise

from django.conf import settings
from PIL import Image, ImageDraw, ImageFont

from training import drawings
from training.shared import Chart, Progress

WIDTH, HEIGHT = 1200, 630
SCALE = 2
"""Drawn so many times as large, then made smaller: Pillow's own lines have stairs."""
MARGIN = 72
TOKEN = re.compile(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}),")
FONTS = files("unfold") / "static" / "unfold" / "fonts" / "inter"
TONES = {"better": "good", "worse": "danger", "unknown": "ink", "waiting": "ink"}
CHART_END = 544


@cache
def colours() -> dict[str, str]:
    """The light theme of static/css/tokens.css by name, which is the one place of colours."""
    return dict(TOKEN.findall((settings.BASE_DIR / "static" / "css" / "tokens.css").read_text()))


@cache
def _font(weight: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO((FONTS / f"Inter-{weight}.woff2").read_bytes()), size * SCALE)


@cache
def _has_shape(character: str) -> bool:
    """Whether the font draws the character, and not the box that stands for what it does not know."""
    font = _font("Medium", 40)
    return bytes(font.getmask(character)) != bytes(font.getmask("\uffff"))


def drawable(text: str) -> str:
    """A text in one line, without what the font has no shape for: control characters, emoji, scripts it lacks."""
    known = (each for each in text if each.isspace() or (each.isprintable() and _has_shape(each)))
    return " ".join("".join(known).split())


def draw(shown: Progress) -> bytes:
    """A bot's progress as a PNG of 1200 × 630."""
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), colours()["paper"])
    card = _Card(ImageDraw.Draw(image, "RGBA"))
    card.head(simulated=shown.simulated)
    below = card.text(drawable(shown.name) or "A bot", "SemiBold", 60, "ink", top=124, lines=1)
    below = card.text(drawable(shown.sentence), "Medium", 34, TONES[shown.tone], top=below + 14, lines=3)
    if shown.chart is not None:
        card.legend(below + 30)
        card.chart(shown.chart, below + 54)
    card.figures(shown.figures)
    found = io.BytesIO()
    small = image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    small.quantize(128, dither=Image.Dither.NONE).save(found, "PNG")
    return found.getvalue()


class _Card:
    """Draws in the card's own pixels."""

    def __init__(self, canvas: ImageDraw.ImageDraw) -> None:
        self.canvas = canvas

    def write(self, place: tuple[float, float], text: str, weight: str, size: int, tone: str, anchor: str) -> None:
        x, y = place
        self.canvas.text((x * SCALE, y * SCALE), text, colours()[tone], _font(weight, size), anchor)

    def line(self, points: Sequence[tuple[float, float]], tone: str, width: float) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self.canvas.line(scaled, colours()[tone], round(width * SCALE), "curve")

    def head(self, *, simulated: bool) -> None:
        """The wall, who looks over it, and whether the audience is a simulation."""
        self.line([(0, 88), (WIDTH, 88)], "wall", 3)
        self.write((MARGIN, 72), "Kilroy", "SemiBold", 32, "ink", "ls")
        if simulated:
            self._simulated("Simulated audience")

    def _simulated(self, words: str) -> None:
        font = _font("SemiBold", 24)
        right, width = WIDTH - MARGIN, font.getlength(words) / SCALE + 36
        box = [(right - width) * SCALE, 28 * SCALE, right * SCALE, 72 * SCALE]
        self.canvas.rounded_rectangle(box, 6 * SCALE, colours()["caution-wash"], colours()["caution-line"], 2 * SCALE)
        self.write((right - width / 2, 50), words, "SemiBold", 24, "caution", "mm")

    def text(self, words: str, weight: str, size: int, tone: str, *, top: float, lines: int) -> float:
        """Words in as many lines as needed, at most `lines`. Returns where they end."""
        leading = size * 1.26
        for line in _wrapped(words, _font(weight, size), (WIDTH - 2 * MARGIN) * SCALE, lines):
            self.write((MARGIN, top), line, weight, size, tone, "la")
            top += leading
        return top

    def legend(self, y: float) -> None:
        """What the chart's two lines are."""
        self.line([(MARGIN, y), (MARGIN + 40, y)], "learning", 5)
        self.write((MARGIN + 52, y), "learning", "Medium", 22, "ink-soft", "lm")
        for start, end in _dashes([(MARGIN + 176, y), (MARGIN + 220, y)]):
            self.line([start, end], "baseline", 3)
        self.write((MARGIN + 232, y), "frozen baseline", "Medium", 22, "ink-soft", "lm")

    def chart(self, chart: Chart, top: float) -> None:
        """Mean reward by round: the learning arm with its band, the frozen baseline dashed, zero."""
        left, right, bottom = MARGIN, WIDTH - MARGIN, CHART_END
        curves = chart.curves
        points = [point for curve in curves.values() for point in curve] + [(chart.first, 0.0)]
        values = [y for _, y in points]
        box = drawings.Frame(right - left, bottom - top, chart.first, chart.last, min(values), max(values))

        def placed(curve: Sequence[drawings.Point]) -> list[tuple[float, float]]:
            return [(left + x, top + y) for x, y in map(box.place, curve)]

        self.line(placed([(chart.first, 0.0), (chart.last, 0.0)]), "line-strong", 1)
        band = [(x * SCALE, y * SCALE) for x, y in placed([*curves["high"], *reversed(curves["low"])])]
        if len(band) > 2:
            self.canvas.polygon(band, f"{colours()['learning']}2e")
        for start, end in _dashes(placed(curves["baseline"])):
            self.line([start, end], "baseline", 3)
        self.line(placed(curves["reward"]), "learning", 5)

    def figures(self, figures: Sequence[tuple[str, str]]) -> None:
        """The numbers below the chart, side by side."""
        x = float(MARGIN)
        for label, value in figures:
            self.write((x, 594), value, "SemiBold", 24, "ink", "ls")
            x += _font("SemiBold", 24).getlength(value) / SCALE + 10
            self.write((x, 594), label.lower(), "Regular", 22, "muted", "ls")
            x += _font("Regular", 22).getlength(label.lower()) / SCALE + 40


def _wrapped(words: str, font: ImageFont.FreeTypeFont, width: float, lines: int) -> list[str]:
    """Words in lines that fit; what does not is cut off with an ellipsis."""
    found: list[str] = []
    rest = words.split(" ")
    while rest and len(found) < lines:
        count = next((n for n in range(len(rest), 0, -1) if font.getlength(" ".join(rest[:n])) <= width), 1)
        if len(found) == lines - 1 and count < len(rest):
            count = len(rest)
        found.append(_cut(" ".join(rest[:count]), font, width))
        rest = rest[count:]
    return found


def _cut(line: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(line) <= width:
        return line
    fitting = next(n for n in range(len(line), -1, -1) if font.getlength(line[:n] + "…") <= width)
    return line[:fitting].rstrip() + "…"


def _dashes(
    points: Sequence[tuple[float, float]], on: float = 12, off: float = 10
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """A curve in dashes of `on` pixels with gaps of `off`."""
    found, walked = [], 0.0
    for (x, y), (to_x, to_y) in pairwise(points):
        length = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5
        at = 0.0
        while at < length:
            phase = (walked + at) % (on + off)
            step = min((on if phase < on else on + off) - phase, length - at) or length
            if phase < on:
                ends = [(x + (to_x - x) * part / length, y + (to_y - y) * part / length) for part in (at, at + step)]
                found.append((ends[0], ends[1]))
            at += step
        walked += length
    return found
