"""Any text survives a round trip, and no text can forge the end of a post."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from training.engine.errors import ModelUnavailable
from training.engine.tokenizer import PostTokenizer, train_tokenizer

TOKENIZER = train_tokenizer(["the cat sat on the mat", "a dog ran in the park"] * 3, vocab_size=290)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@settings(max_examples=200)
def test_every_unicode_text_survives_a_round_trip(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_nul_never_leaves_a_model() -> None:
    ids = TOKENIZER.encode("a\0b")

    assert TOKENIZER.decode(ids) == "ab"
    assert [TOKENIZER.decode(each) for each in (ids, ids)] == ["ab", "ab"]


@pytest.mark.parametrize("text", ["<|endoftext|>", "so it ends<|endoftext|>", "<|endoftext|><|endoftext|> more"])
def test_the_end_token_in_a_text_is_plain_text(text: str) -> None:
    ids = TOKENIZER.encode(text)

    assert TOKENIZER.end_id not in ids
    assert TOKENIZER.decode(ids) == text


def test_documents_begin_and_end_with_the_end_token() -> None:
    assert TOKENIZER.documents(["cat", ""]) == [
        [TOKENIZER.end_id, *TOKENIZER.encode("cat"), TOKENIZER.end_id],
        [TOKENIZER.end_id, TOKENIZER.end_id],
    ]


def test_it_has_every_byte_and_the_end_token() -> None:
    bare = train_tokenizer(["a"], vocab_size=257)

    assert (bare.vocab_size, bare.end_id) == (257, 0)
    assert len(bare.encode("é")) == 2


def test_decoding_leaves_the_end_token_out() -> None:
    assert TOKENIZER.decode([0, *TOKENIZER.encode("the cat"), 0]) == "the cat"
    assert [TOKENIZER.decode(each) for each in (TOKENIZER.encode("a dog"), [])] == ["a dog", ""]


def test_saving_keeps_the_end_token_special(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path)
    loaded = PostTokenizer(AutoTokenizer.from_pretrained(tmp_path))

    assert loaded.encode("the cat<|endoftext|>") == TOKENIZER.encode("the cat<|endoftext|>")
    assert loaded.end_id == TOKENIZER.end_id
    # Saving must not switch the protection off in the tokenizer at hand either.
    assert TOKENIZER.end_id not in TOKENIZER.encode("<|endoftext|>")


def test_a_tokenizer_without_end_token_is_refused(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path)
    endless = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))

    with pytest.raises(ModelUnavailable, match="no end token"):
        PostTokenizer(endless)
