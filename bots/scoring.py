"""Score formulas: reactions in, one number out.

A formula is written by a person ("log1p(likes + 2 * comments) - log(followers)"), so it is parsed, never evaluated by
Python itself: numbers, the names below, + - * / ** and a handful of functions. Counts enter divided by F(age), the
share of all reactions that a post of that age has usually had, so that a young post is not taken for a bad one.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

DEFAULT_FORMULA = "log1p(likes) - log(followers)"
HALF_LIFE_MINUTES = 80.0
"""Age at which a post has usually had half of its reactions (measured for X; docs/learning.md)."""

NAMES_HELP = "likes, comments, shares, followers, age_hours"
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "log": math.log,
    "log1p": math.log1p,
    "sqrt": math.sqrt,
    "abs": abs,
    "min": min,
    "max": max,
}
_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


class FormulaError(ValueError):
    """A formula that cannot be used, or cannot be used on these reactions; the message is for its author."""


def maturity(age_seconds: float) -> float:
    """F(age): share of its reactions that a post of this age has usually had, in (0, 1]: 1 − 2^(−age / half-life), at
    least 0.01.
    """
    return max(0.01, 1.0 - math.exp2(-age_seconds / 60.0 / HALF_LIFE_MINUTES))


def evaluate(formula: str, metrics: Mapping[str, int], followers: int | None, age_seconds: float) -> float:
    """The score. Raises FormulaError when a metric is missing or the arithmetic fails; a missing metric is never
    taken for 0.
    """
    grown = maturity(age_seconds)
    values: dict[str, float] = {name: count / grown for name, count in metrics.items()}
    values["age_hours"] = age_seconds / 3600.0
    if followers is not None:
        values["followers"] = float(followers)
    return _evaluate(_parse(formula), values)


def check(formula: str, metrics: tuple[str, ...]) -> None:
    """Try a formula before it is saved, on an ordinary post, a viral one and one without any reaction.

    Raises FormulaError, naming what failed: an unknown name, a division by zero, a logarithm of zero.
    """
    tree = _parse(formula)
    for count, followers in ((0, 1), (1, 1), (7, 250), (2_000_000, 50_000_000)):
        values = {name: float(count) for name in metrics} | {"followers": float(followers), "age_hours": 24.0}
        try:
            _evaluate(tree, values)
        except FormulaError as error:
            raise FormulaError(f"{error} (tried with every reaction = {count}, followers = {followers})") from None


def _parse(formula: str) -> ast.expr:
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
                raise FormulaError(f"There is no value “{name}” here. Known are: {', '.join(sorted(values))}.")
            return values[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, values), _value(right, values))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(operand, values))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(argument, values) for argument in arguments))
    raise FormulaError(
        f"“{ast.unparse(node)}” cannot stand in a formula. "
        f"Use numbers, {NAMES_HELP}, + - * / ** and {', '.join(_FUNCTIONS)}."
    )
