"""Curves as shapes: what a page draws as SVG, and an image with lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
NICE = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Frame:
    """A box of `width` × `height` in which values from `left` to `right` and from `low` to `high` are drawn. y grows
    downwards, as in SVG and in images.
    """

    width: float
    height: float
    left: float
    right: float
    low: float
    high: float

    def place(self, point: Point) -> Point:
        x, y = point
        across, up = self.right - self.left, self.high - self.low
        return (
            self.width * ((x - self.left) / across if across else 0.5),
            self.height * (1 - ((y - self.low) / up if up else 0.5)),
        )

    def line(self, points: Sequence[Point]) -> str:
        """A curve as an SVG path."""
        places = [self.place(point) for point in points]
        return "".join(f"{'L' if at else 'M'}{x:.2f} {y:.2f}" for at, (x, y) in enumerate(places))

    def area(self, above: Sequence[Point], below: Sequence[Point]) -> str:
        """What lies between two curves, as an SVG path."""
        return f"{self.line([*above, *reversed(below)])}Z" if above and below else ""


def frame(width: float, height: float, *curves: Sequence[Point]) -> Frame:
    """The frame that all points of the curves just fill; at least one curve has points."""
    points = [point for curve in curves for point in curve]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return Frame(width, height, min(xs), max(xs), min(ys), max(ys))


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers at equal distances, at most about `most`, from at or below `low` to at or above `high`."""
    span = (high - low) or max(abs(high), 1.0)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * nice for nice in NICE if power * nice * most >= span * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class Interval:
    """A number with its interval, drawn on an axis beside zero: places in percent of its width, and the words; those at
    zero begin there, end there or have it in their middle (`anchor`).
    """

    mean: str
    low: str
    high: str
    zero: str
    low_words: str
    high_words: str
    anchor: str


def interval(mean: float, low: float, high: float) -> Interval:
    """Zero and the interval fill the middle two thirds: there is room for words on both sides."""
    left, right = min(0.0, low), max(0.0, high)

    def place(value: float) -> float:
        return 18 + 64 * (value - left) / ((right - left) or 1.0)

    return Interval(
        mean=f"{place(mean):.2f}%",
        low=f"{place(low):.2f}%",
        high=f"{place(high):.2f}%",
        zero=f"{place(0.0):.2f}%",
        low_words=signed(low),
        high_words=signed(high),
        anchor="start" if place(0.0) < 40 else "end" if place(0.0) > 60 else "middle",
    )


def signed(value: float) -> str:
    """A number with its sign, as people read it."""
    return f"{value:+.2f}".replace("-", "−")


def plain(value: float) -> str:
    """A number, as people read it."""
    return f"{value:.2f}".replace("-", "−")
