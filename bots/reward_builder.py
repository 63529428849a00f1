"""A score formula as choices that need no writing: what each reaction weighs, per whom, logarithm, clipping, toxicity.

`formula_of` writes a recipe as a formula, and `recipe_of` reads one back from any formula that means the same as some
recipe does; of the others it says that the builder cannot show them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from bots.scoring import EXPOSURES, NAMES, FormulaError, parse

FIRST = "first(impressions, followers)"
PER = {
    "": "nobody: count as it is",
    "followers": "follower",
    "members": "member (Discord)",
    "subscribers": "subscriber (Reddit)",
    "impressions": "impression",
    FIRST: "impression, or follower where impressions are not known",
}
TOXICITY = {
    "": "costs nothing",
    "penalty": "is subtracted: + penalty(toxicity)",
    "modifier": "shrinks the score: × modifier(toxicity), for scores that are never negative",
}
NO_REACTION = {*EXPOSURES, *NAMES[-2:]}
"""Names of a formula that are no count of reactions."""


class _Inexpressible(Exception):
    """No recipe means the same as this formula."""


@dataclass(frozen=True)
class Recipe:
    """`weights`: reaction → weight, none of them 0. `low` and `high` clip the score before toxicity counts."""

    weights: Mapping[str, float]
    per: str = ""
    logarithm: bool = True
    low: float | None = None
    high: float | None = None
    toxicity: Literal["", "penalty", "modifier"] = ""


def formula_of(recipe: Recipe) -> str:
    """The recipe's formula. Raises FormulaError for one without weights, or with limits the wrong way round."""
    if not recipe.weights:
        raise FormulaError("Give at least one reaction a weight: without any, every post scores the same.")
    if recipe.low is not None and recipe.high is not None and recipe.low >= recipe.high:
        raise FormulaError("The lower limit must be below the upper one.")
    text = _base(_sum(recipe.weights), recipe)
    if recipe.low is not None:
        text = f"max({text}, {_number(recipe.low)})"
    if recipe.high is not None:
        text = f"min({text}, {_number(recipe.high)})"
    if recipe.toxicity == "penalty":
        return f"{text} + penalty(toxicity)"
    return f"({text}) * modifier(toxicity)" if recipe.toxicity == "modifier" else text


def _base(total: str, recipe: Recipe) -> str:
    if recipe.logarithm:
        return f"log1p({total})" + (f" - log({recipe.per})" if recipe.per else "")
    if not recipe.per:
        return total
    return f"{total} / {recipe.per}" if total in recipe.weights else f"({total}) / {recipe.per}"


def _sum(weights: Mapping[str, float]) -> str:
    text = ""
    for name, weight in weights.items():
        term = name if abs(weight) == 1 else f"{_number(abs(weight))} * {name}"
        sign = "-" if weight < 0 else "+"
        text += f" {sign} {term}" if text else f"-{term}" if weight < 0 else term
    return text


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)


def recipe_of(formula: str) -> Recipe | None:
    """The recipe that means the same as the formula; None where the builder cannot say it, or it is no formula."""
    try:
        return _recipe(parse(formula))
    except (FormulaError, _Inexpressible):
        return None


def _recipe(tree: ast.expr) -> Recipe:
    toxicity: Literal["", "penalty", "modifier"] = ""
    low = high = None
    match tree:
        case ast.BinOp(left=inner, op=ast.Add(), right=ast.Call() as call) if _is_call(call, "penalty", "toxicity"):
            tree, toxicity = inner, "penalty"
        case ast.BinOp(left=inner, op=ast.Mult(), right=ast.Call() as call) if _is_call(call, "modifier", "toxicity"):
            tree, toxicity = inner, "modifier"
    match tree:
        case ast.Call(func=ast.Name(id="min"), args=[inner, bound], keywords=[]):
            tree, high = inner, _constant(bound)
    match tree:
        case ast.Call(func=ast.Name(id="max"), args=[inner, bound], keywords=[]):
            tree, low = inner, _constant(bound)
    if low is not None and high is not None and low >= high:
        raise _Inexpressible
    total, per, logarithm = _measure(tree)
    weights: dict[str, float] = {}
    for name, weight in _terms(total, 1.0):
        if name in weights or weight == 0 or name in NO_REACTION:
            raise _Inexpressible
        weights[name] = weight
    return Recipe(weights, per, logarithm, low, high, toxicity)


def _measure(tree: ast.expr) -> tuple[ast.expr, str, bool]:
    """What is summed up, per whom, and whether its logarithm is taken."""
    match tree:
        case ast.BinOp(
            left=ast.Call(func=ast.Name(id="log1p"), args=[total], keywords=[]),
            op=ast.Sub(),
            right=ast.Call(func=ast.Name(id="log"), args=[exposure], keywords=[]),
        ):
            return total, _per(exposure), True
        case ast.Call(func=ast.Name(id="log1p"), args=[total], keywords=[]):
            return total, "", True
        case ast.BinOp(left=total, op=ast.Div(), right=exposure):
            return total, _per(exposure), False
    return tree, "", False


def _per(exposure: ast.expr) -> str:
    text = ast.unparse(exposure)
    if text not in PER:
        raise _Inexpressible
    return text


def _terms(node: ast.expr, sign: float) -> Iterator[tuple[str, float]]:
    """(reaction, weight) of each term of a sum."""
    match node:
        case ast.Name(id=name):
            yield name, sign
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            yield from _terms(left, sign)
            yield from _terms(right, sign if isinstance(op, ast.Add) else -sign)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield from _terms(operand, -sign)
        case ast.BinOp(left=weight, op=ast.Mult(), right=ast.Name(id=name)):
            yield name, sign * _constant(weight)
        case ast.BinOp(left=ast.Name(id=name), op=ast.Mult(), right=weight):
            yield name, sign * _constant(weight)
        case _:
            raise _Inexpressible


def _constant(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_constant(operand)
    raise _Inexpressible


def _is_call(call: ast.Call, function: str, argument: str) -> bool:
    return ast.unparse(call) == f"{function}({argument})"
