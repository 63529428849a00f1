"""Score formulas: reactions in, one number out.

A formula is written by a person ("log1p(likes + 2 * comments) - log(followers)"), so it is parsed, never evaluated by
Python itself: numbers, the names below, + - * / ** and a handful of functions. Counts enter divided by F(age), the
share of all reactions that a post of that age has usually had, so that a young post is not taken for a bad one; ratios
enter as they are.

What the platform did not give is missing and never 0; `first(impressions, followers)` is the first of its values that
is known. `followers` are X's and others' followers, Discord's `members` or Reddit's `subscribers`: three names for the
account's exposure. An exposure counts as 1 at least: somebody can see a post even where nobody follows.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

DEFAULT_FORMULA = "log1p(likes) - log(followers)"
HALF_LIFE_MINUTES = 80.0
"""Age at which a post has usually had half of its reactions (measured for X; docs/learning.md)."""

FOLLOWING = ("followers", "members", "subscribers")
EXPOSURES = (*FOLLOWING, "impressions")
NAMES = ("likes", "comments", "shares", *EXPOSURES, "age_hours", "toxicity")
NAMES_HELP = "likes, comments, shares, impressions, followers (members, subscribers), age_hours, toxicity"
TRIED_TOXICITIES = (0.2, 0.8, 0.95, 1.0)


def is_ratio(metric: str) -> bool:
    """Whether a metric is a ratio (Reddit's `upvote_ratio`, in per cent): no count, and as large at every age."""
    return metric.endswith("_ratio")


class FormulaError(ValueError):
    """A formula that cannot be used, or cannot be used on these reactions; the message is for its author."""


class MissingValueError(FormulaError):
    """A name of the formula has no value in this reading."""


@dataclass(frozen=True)
class Curve:
    """F(age) = 1 − 2^(−(age / half-life)^shape), the share of its reactions that a post of this age has usually had.

    `half_life` is in minutes; `posts` says how many posts it was learned from (bots/maturation.py), 0 for the prior.
    """

    half_life: float = HALF_LIFE_MINUTES
    shape: float = 1.0
    posts: int = 0

    def exact(self, minutes: float) -> float:
        return 1.0 - math.exp2(-((max(minutes, 0.0) / self.half_life) ** self.shape))

    def share(self, age_seconds: float) -> float:
        """F, at least 0.01: nobody's first reaction is worth more than a hundred."""
        return max(0.01, self.exact(age_seconds / 60.0))


PRIOR = Curve()


def modifier(toxicity: float, threshold: float = 0.8, sharpness: float = 0.9) -> float:
    """What toxicity x leaves of a score: M = 1 / (1 + (xᵖ / (1 − xᵖ))^(1 / (1 − α))), p = −ln 2 / ln τ.

    1 for x = 0, ½ at the threshold τ, 0 for x = 1; the larger α, in [0, 1), the steeper. The original Kilroy's.
    """
    return math.exp(penalty(toxicity, threshold, sharpness)) if toxicity < 1 else 0.0


def penalty(toxicity: float, threshold: float = 0.8, sharpness: float = 0.9) -> float:
    """ln M of `modifier`, to be added to a score that is a logarithm: 0 for a harmless text, −ln 2 at the threshold,
    and never above 0, so that it costs whatever the score's sign is. An x of 1 counts as 1 − 1e-9.
    """
    if not (0 < threshold < 1 and 0 <= sharpness < 1):
        raise FormulaError("The toxicity threshold must lie between 0 and 1, and the sharpness too (0 is allowed).")
    if toxicity <= 0:
        return 0.0
    log_power = -math.log(2) / math.log(threshold) * math.log(min(toxicity, 1 - 1e-9))
    steep = (log_power - math.log(-math.expm1(log_power))) / (1 - sharpness)
    return -(max(steep, 0.0) + math.log1p(math.exp(-abs(steep))))


_FUNCTIONS: dict[str, Callable[..., float]] = {
    "log": math.log,
    "log1p": math.log1p,
    "sqrt": math.sqrt,
    "abs": abs,
    "min": min,
    "max": max,
    "modifier": modifier,
    "penalty": penalty,
}
FUNCTIONS_HELP = ", ".join([*_FUNCTIONS, "first"])
_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def evaluate(
    formula: str,
    metrics: Mapping[str, int],
    followers: int | None,
    age_seconds: float,
    *,
    toxicity: float = 0.0,
    curve: Curve = PRIOR,
) -> float:
    """The score. Counts are divided by F(age), and a ratio is none. Raises FormulaError when a metric is missing or the
    arithmetic fails; a missing metric is never taken for 0.
    """
    grown = curve.share(age_seconds)
    values: dict[str, float] = {name: count if is_ratio(name) else count / grown for name, count in metrics.items()}
    values |= {"age_hours": age_seconds / 3600.0, "toxicity": toxicity}
    if followers is not None:
        values |= dict.fromkeys(FOLLOWING, float(followers))
    return _evaluate(parse(formula), _exposed(values))


def _exposed(values: dict[str, float]) -> dict[str, float]:
    return {name: max(value, 1.0) if name in EXPOSURES else value for name, value in values.items()}


def check(formula: str, metrics: tuple[str, ...]) -> None:
    """Try a formula before it is saved, on an ordinary post, a viral one and one without any reaction, each harmless
    and toxic.

    Raises FormulaError, naming what failed: an unknown name, a division by zero, a logarithm of zero, a toxic post that
    scores more than the same post without its toxicity.
    """
    tree = parse(formula)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Name)
            and id(node) not in called
            and node.id not in {*metrics, *NAMES, *_FUNCTIONS, "first"}
        ):
            raise _missing(node.id, {*metrics, *FOLLOWING, "age_hours", "toxicity"})
    for count, followers in ((0, 1), (1, 1), (7, 250), (2_000_000, 50_000_000)):
        values = {name: float(count) for name in metrics} | dict.fromkeys(FOLLOWING, float(followers))
        values = _exposed(values | {"age_hours": 24.0, "toxicity": 0.0})
        try:
            harmless = _evaluate(tree, values)
            toxic = max(_evaluate(tree, values | {"toxicity": tried}) for tried in TRIED_TOXICITIES)
        except FormulaError as error:
            raise FormulaError(f"{error} (tried with every reaction = {count}, followers = {followers})") from None
        if toxic > harmless + 1e-9:
            raise FormulaError(
                "A toxic post would score more than a harmless one, since a negative score times modifier(toxicity) "
                "comes nearer to 0: add penalty(toxicity) to the score instead "
                f"(tried with every reaction = {count}, followers = {followers})"
            )


@lru_cache(maxsize=64)
def parse(formula: str) -> ast.expr:
    """The formula as a tree, which nobody may change. Raises FormulaError for what is no expression at all."""
    if len(formula) > 300:
        raise FormulaError("The formula is longer than 300 characters.")
    try:
        return ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormulaError(f"“{formula}” is not a formula. Write something like {DEFAULT_FORMULA}.") from None


def _evaluate(tree: ast.expr, values: Mapping[str, float]) -> float:
    try:
        result = float(_value(tree, values))
    except ZeroDivisionError:
        raise FormulaError("The formula divides by zero: add 1 to the divisor.") from None
    except (OverflowError, TypeError):
        raise FormulaError("The formula gives no usable number.") from None
    except ValueError as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError("The formula takes the logarithm or root of a number it has none for: use log1p.") from None
    if not math.isfinite(result):
        raise FormulaError("The formula gives no finite number.")
    return result


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id=name):
            if name not in values:
                raise _missing(name, values)
            return values[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, values), _value(right, values))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(operand, values))
        case ast.Call(func=ast.Name(id="first"), args=arguments, keywords=[]) if arguments:
            return _first(arguments, values)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(argument, values) for argument in arguments))
    raise FormulaError(
        f"“{ast.unparse(node)}” cannot stand in a formula. Use numbers, {NAMES_HELP}, + - * / ** and {FUNCTIONS_HELP}."
    )


def _first(choices: list[ast.expr], values: Mapping[str, float]) -> float:
    """The first choice whose every name has a value. Raises MissingValueError when none has."""
    for choice in choices[:-1]:
        try:
            return _value(choice, values)
        except MissingValueError:
            continue
    return _value(choices[-1], values)


def _missing(name: str, known: Iterable[str]) -> MissingValueError:
    return MissingValueError(
        f"There is no value “{name}” here: the platform did not give it. Known are: {', '.join(sorted(known))}."
    )
