"""The colours of the pages, by the formula of WCAG 2.2: legible in both themes, and the docs tell the figures."""

from __future__ import annotations

import re

import pytest

from kilroy_site.config import BASE_DIR

TOKENS = (BASE_DIR / "static" / "css" / "tokens.css").read_text()
TEXT = (
    *((ink, ground) for ink in ("ink", "ink-soft", "muted", "accent") for ground in ("paper", "surface", "sunken")),
    *((f"{kind}", f"{kind}-wash") for kind in ("good", "caution", "danger", "info")),
    ("accent", "accent-wash"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("on-danger", "danger"),
)
LINES = (
    *((line, "surface") for line in ("learning", "baseline", "human", "second", "line-strong", "focus")),
    *((line, "paper") for line in ("learning", "baseline", "human", "second", "focus")),
)
"""What is not text but has to be seen: 3 : 1."""


def colours(name: str) -> tuple[str, str]:
    """A token's colour in the light and in the dark theme."""
    found = re.search(rf"--{name}: light-dark\((#[0-9a-f]{{6}}), (#[0-9a-f]{{6}})\);", TOKENS)
    assert found, name
    return found[1], found[2]


def luminance(colour: str) -> float:
    """Relative luminance: 0.2126 R + 0.7152 G + 0.0722 B of the linear channels."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """(L₁ + 0.05) / (L₂ + 0.05), the lighter one first."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def figures(front: str, ground: str) -> tuple[float, float]:
    """In the light and in the dark theme."""
    light, dark = (contrast(a, b) for a, b in zip(colours(front), colours(ground), strict=True))
    return light, dark


def test_the_formula_is_the_standards() -> None:
    assert contrast("#000000", "#ffffff") == 21
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(("front", "ground"), TEXT)
def test_text_is_legible(front: str, ground: str) -> None:
    assert min(figures(front, ground)) >= 4.5


@pytest.mark.parametrize(("front", "ground"), LINES)
def test_lines_are_seen(front: str, ground: str) -> None:
    assert min(figures(front, ground)) >= 3


def test_the_docs_tell_the_figures() -> None:
    said = (BASE_DIR / "docs" / "design.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` on `([\w-]+)` \| ([\d.]+) \| ([\d.]+) \|$", said, re.MULTILINE)
    assert len(rows) >= 12
    for front, ground, light, dark in rows:
        assert [f"{each:.1f}" for each in figures(front, ground)] == [light, dark], (front, ground)
