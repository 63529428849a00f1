"""Packed posts are computed as if each were alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from training.engine.models.causal import CausalLanguageModel
from training.engine.packing import IGNORED, collate, pack, plan_rows


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> CausalLanguageModel:
    loaded = CausalLanguageModel.load(str(tiny_model_folder))
    loaded.compute = torch.float32
    return loaded


def test_rows_hold_ids_positions_and_targets() -> None:
    rows = collate([[[9, 1, 2, 9], [9, 3, 9]], [[9, 4, 5, 6, 9]]], context=6, filler=7)

    assert rows.input_ids.tolist() == [[9, 1, 2, 9, 3, 7], [9, 4, 5, 6, 7, 7]]
    assert rows.position_ids.tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 0, 0]]
    assert rows.targets.tolist() == [[1, 2, 9, 3, 9, IGNORED], [4, 5, 6, 9, IGNORED, IGNORED]]
    assert rows.scored_tokens == 9


def test_a_document_longer_than_a_row_is_cut() -> None:
    rows = pack([[9, 1, 2, 3, 4, 9], [9, 5, 9]], context=3, filler=0)

    assert rows.input_ids.tolist() == [[9, 1, 2], [9, 5, 0]]
    assert rows.targets.tolist() == [[1, 2, 3], [5, 9, IGNORED]]


def test_a_row_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        collate([[[9, 1, 2, 9], [9, 3, 9]]], context=4, filler=0)


def test_documents_share_rows_by_best_fit() -> None:
    assert plan_rows([6, 5, 4, 2, 3], context=8) == [[0, 3], [1, 4], [2]]


def test_every_document_is_in_exactly_one_row_that_it_fits() -> None:
    lengths = [(7 * i) % 29 + 1 for i in range(500)]
    rows = plan_rows(lengths, context=32)

    assert sorted(i for row in rows for i in row) == list(range(500))
    assert max(sum(lengths[i] for i in row) for row in rows) <= 32
    assert sum(lengths) / (32 * len(rows)) > 0.95


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_logits_of_packed_documents_equal_those_of_each_alone(
    model: CausalLanguageModel, posts: list[str], attention: str
) -> None:
    model.network.set_attn_implementation(attention)
    documents = model.tokenizer.documents(posts)
    rows = collate([documents[:2], documents[2:4]], context=60, filler=model.tokenizer.end_id)
    with torch.no_grad():
        packed = model.network(input_ids=rows.input_ids, position_ids=rows.position_ids, use_cache=False).logits
        alone = [model.network(input_ids=torch.tensor([d[:-1]]), use_cache=False).logits[0] for d in documents]

    first = len(documents[0]) - 1
    assert_close(packed[0, :first], alone[0], rtol=0, atol=1e-4)
    assert_close(packed[0, first : first + len(alone[1])], alone[1], rtol=0, atol=1e-4)
    assert_close(packed[1, : len(alone[2])], alone[2], rtol=0, atol=1e-4)


def test_a_mask_of_ones_would_mix_documents(model: CausalLanguageModel, posts: list[str]) -> None:
    """The trap that `packing` warns of. Should this fail, transformers has changed and the warning can go."""
    documents = model.tokenizer.documents(posts)
    rows = collate([documents[:2]], context=60, filler=model.tokenizer.end_id)
    with torch.no_grad():
        right = model.network(input_ids=rows.input_ids, position_ids=rows.position_ids, use_cache=False).logits
        mixed = model.network(
            input_ids=rows.input_ids,
            position_ids=rows.position_ids,
            attention_mask=torch.ones_like(rows.input_ids),
            use_cache=False,
        ).logits
    second = slice(len(documents[0]) - 1, len(documents[0]) + len(documents[1]) - 2)

    assert float((right[0, second] - mixed[0, second]).abs().max()) > 0.1


def test_the_packed_loss_is_the_mean_over_all_tokens(model: CausalLanguageModel, posts: list[str]) -> None:
    rows = model.pack(posts, context=60)
    scores = [value for row in model.logprobs(posts) for value in row]

    assert rows.scored_tokens == len(scores)
    assert model.loss(rows).item() == pytest.approx(-sum(scores) / len(scores), abs=1e-4)
