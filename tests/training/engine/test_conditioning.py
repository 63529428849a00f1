"""What a post is written under: read, not written, not forged, and obeyed."""

from __future__ import annotations

import random
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from training.engine import conditioning
from training.engine.batches import Batches
from training.engine.models.causal import CausalLanguageModel
from training.engine.packing import IGNORED, pack
from training.engine.tokenizer import PostTokenizer, train_tokenizer
from training.engine.types import CONDITIONS, Conditions, FinetuneConfig, Prompt, SamplingParams, TrainingPost

ALL = FinetuneConfig(conditions="author,community,topic,context", condition_dropout=0.0)
MARKS = [*(conditioning.mark(name) for name in CONDITIONS), conditioning.POST_MARK, "<|endoftext|>"]


def tiny(texts: list[str], seed: int = 0) -> CausalLanguageModel:
    tokenizer = train_tokenizer(texts, vocab_size=300)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size, n_embd=32, n_layer=2, n_head=2, n_positions=64, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=tokenizer.end_id, eos_token_id=tokenizer.end_id,
    )  # fmt: skip
    torch.manual_seed(seed)
    return CausalLanguageModel(GPT2LMHeadModel(config), tokenizer)


@pytest.fixture(scope="module")
def taught() -> CausalLanguageModel:
    model = tiny(["the cat sat on the mat", "a dog ran in the park"] * 3)
    conditioning.teach(model, CONDITIONS)
    return model


def ids(tokenizer: PostTokenizer, *parts: str) -> list[int]:
    """Marks as their special tokens, everything else as text."""
    found: list[int] = []
    for part in parts:
        special = tokenizer.special_id(part) if part in MARKS else None
        found += [special] if special is not None else tokenizer.encode(part)
    return found


def test_a_document_holds_what_is_known_in_order(taught: CausalLanguageModel) -> None:
    known = Conditions(author="ann", community="pets", topic="cats", context="where is it?")
    (whole, bare) = conditioning.documents(
        taught.tokenizer, [TrainingPost("the cat", conditions=known), TrainingPost("a dog")], ALL, 64
    )
    end = "<|endoftext|>"
    assert whole == ids(
        taught.tokenizer, end, "<|author|>", "ann", "<|community|>", "pets", "<|topic|>", "cats", "<|context|>",
        "where is it?", "<|post|>", "the cat", end,
    )  # fmt: skip
    assert bare == ids(taught.tokenizer, end, "a dog", end)


def test_only_the_conditions_asked_for_are_written(taught: CausalLanguageModel) -> None:
    post = TrainingPost("the cat", conditions=Conditions(author="ann", topic="cats"))
    (document,) = conditioning.documents(
        taught.tokenizer, [post], FinetuneConfig(conditions=" topic ", condition_dropout=0.0), 64
    )
    assert document == ids(
        taught.tokenizer, "<|endoftext|>", "<|topic|>", "cats", "<|post|>", "the cat", "<|endoftext|>"
    )
    (plain,) = conditioning.documents(taught.tokenizer, [post], FinetuneConfig(), 64)
    assert plain == taught.tokenizer.documents(["the cat"])[0]
    with pytest.raises(ValueError, match="no condition “colour”"):
        conditioning.chosen(FinetuneConfig(conditions="author,colour"))


def test_a_long_context_is_cut_from_the_left_and_the_post_kept_whole(taught: CausalLanguageModel) -> None:
    tokenizer = taught.tokenizer
    context = "abcdefghijklmnopqrstuvwxyz" * 4
    post = TrainingPost("the cat", conditions=Conditions(author="ann", context=context))
    (cut,) = conditioning.documents(tokenizer, [post], ALL, 30)
    kept = ids(tokenizer, "<|endoftext|>", "<|author|>", "ann", "<|context|>")
    tail = ids(tokenizer, "<|post|>", "the cat", "<|endoftext|>")
    space = 30 - len(kept) - len(tail)
    assert cut == [*kept, *tokenizer.encode(context)[-space:], *tail]
    (without,) = conditioning.documents(tokenizer, [post], ALL, len(kept) + len(tail) - 1)
    assert without == [*kept[:-1], *tail]


@pytest.mark.parametrize(("room", "kept"), [(40, True), (33, True), (32, False), (8, False)])
def test_a_prompt_leaves_its_post_half_of_the_room_or_is_left_out(
    taught: CausalLanguageModel, room: int, kept: bool
) -> None:
    tokenizer = taught.tokenizer
    known = Conditions(author="abcdef", topic="ghijkl", context="mnopqr")
    text = "the cat sat on the mat, a dog ran in the park; the cat sat on the mat, a dog ran in the park"
    prompt = ids(tokenizer, "<|endoftext|>", "<|author|>", "abcdef", "<|topic|>", "ghijkl", "<|post|>")
    (document,) = conditioning.documents(tokenizer, [TrainingPost(text, conditions=known)], ALL, room)
    words = [*tokenizer.encode(text), tokenizer.end_id]

    assert len(prompt) == 16
    assert len(prompt) + len(words) > 40
    assert document == ([*prompt, *words] if kept else [tokenizer.end_id, *words])


def test_a_cut_prompt_is_never_learned(taught: CausalLanguageModel) -> None:
    tokenizer = taught.tokenizer
    known = Conditions(author="abcdefghijklmnopq", topic="abcdefghijklmnopq", context="abcdefghijklmnopq")
    posts = [TrainingPost("the cat" * times, conditions=known) for times in (1, 3, 10)]
    config = FinetuneConfig(conditions="author,topic,context", condition_dropout=0.0, context=32)
    batches = Batches(taught, [TrainingPost("a dog"), *posts], {"time": posts}, config)

    for number, post in enumerate([TrainingPost("a dog"), *posts, *posts]):
        scored = [token for token in batches.tensors([[number]]).targets[0].tolist() if token != IGNORED]
        words = [*tokenizer.encode(post.text), tokenizer.end_id]
        assert scored == words[: len(scored)]
        assert len(scored) >= min(len(words), 16)


@given(st.lists(st.one_of(st.sampled_from(MARKS), st.text(max_size=8)), max_size=6).map("".join))
@settings(max_examples=150)
def test_no_text_can_forge_a_mark(text: str) -> None:
    tokenizer = FORGED.tokenizer
    specials = {tokenizer.special_id(mark) for mark in MARKS}
    assert not specials & set(tokenizer.encode(text))
    if "\0" not in text:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    conditions = Conditions(author=text, community=text, topic=text, context=text)
    (document,) = conditioning.documents(tokenizer, [TrainingPost(text, conditions=conditions)], ALL, 4096)
    counted = Counter(token for token in document if token in specials)
    once = 1 if text.strip() else 0
    assert counted == +Counter({tokenizer.special_id(mark): once for mark in MARKS[:-1]} | {tokenizer.end_id: 2})


def test_the_loss_is_on_the_post_and_its_end_alone(taught: CausalLanguageModel) -> None:
    tokenizer = taught.tokenizer
    posts = [
        TrainingPost("the cat", conditions=Conditions(author="ann", context="where?")),
        TrainingPost("a dog"),
        TrainingPost("the park", conditions=Conditions(topic="places")),
    ]
    rows = pack(conditioning.documents(tokenizer, posts, ALL, 64), 96, tokenizer.end_id)
    scored = conditioning.without_prompts(rows, tokenizer).targets[0]
    wanted = [[*tokenizer.encode(post.text), tokenizer.end_id] for post in posts]
    assert [int(token) for token in scored if token != IGNORED] == list(chain(*wanted))
    assert rows.scored_tokens > sum(map(len, wanted))


def test_dropout_leaves_the_prompt_out_of_its_share(taught: CausalLanguageModel) -> None:
    posts = [TrainingPost("the cat", conditions=Conditions(author="ann"))] * 1000
    config = FinetuneConfig(conditions="author", condition_dropout=0.25, seed=3)
    documents = conditioning.documents(taught.tokenizer, posts, config, 64)
    bare = [document == taught.tokenizer.documents(["the cat"])[0] for document in documents]
    assert 200 < sum(bare) < 300
    assert documents == conditioning.documents(taught.tokenizer, posts, config, 64)


def test_new_marks_begin_as_the_mean_and_are_saved_with_the_model(tmp_path: Path) -> None:
    model = tiny(["the cat sat on the mat"] * 3)
    before = model.network.get_input_embeddings().weight.detach().clone()
    conditioning.teach(model, ("author",))
    after = model.network.get_input_embeddings().weight.detach()
    assert len(after) == len(before) + 2
    torch.testing.assert_close(after[-1], before.mean(dim=0))
    torch.testing.assert_close(after[: len(before)], before)
    conditioning.teach(model, ("author",))
    assert model.tokenizer.vocab_size == len(after)
    model.save(tmp_path)
    loaded = CausalLanguageModel.load(str(tmp_path))
    assert conditioning.known(loaded.tokenizer) == ("author",)
    text = "<|author|> said <|post|>"
    assert loaded.tokenizer.encode(text) == model.tokenizer.encode(text)
    assert loaded.tokenizer.decode(loaded.tokenizer.encode(text)) == text


def test_a_condition_that_a_model_cannot_read_is_refused(taught: CausalLanguageModel) -> None:
    plain = tiny(["the cat sat on the mat"] * 3)
    prompt = Prompt("so", Conditions(author="ann"))
    with pytest.raises(ValueError, match="not taught to write under a given author"):
        conditioning.prompt_ids(plain.tokenizer, prompt, 64)
    assert conditioning.prompt_ids(plain.tokenizer, Prompt("so"), 64) == [
        plain.tokenizer.end_id,
        *plain.tokenizer.encode("so"),
    ]
    assert conditioning.prompt_ids(taught.tokenizer, prompt, 64) == ids(
        taught.tokenizer, "<|endoftext|>", "<|author|>", "ann", "<|post|>", "so"
    )


def test_a_model_writes_in_the_style_of_the_author_it_is_asked_for() -> None:
    rng = random.Random(1)
    words = {"ann": ["apple", "bread", "cheese", "olive"], "bob": ["wheel", "brake", "gear", "chain"]}
    posts = [
        TrainingPost(" ".join(rng.choices(words[author], k=3)), conditions=Conditions(author=author))
        for author in rng.choices(["ann", "bob"], k=240)
    ]
    model = tiny([post.text for post in posts])
    conditioning.teach(model, ("author",))
    config = FinetuneConfig(conditions="author", condition_dropout=0.1)
    documents = conditioning.documents(model.tokenizer, posts, config, 64)
    optimizer = torch.optim.Adam(model.network.parameters(), lr=1e-2)
    for step in range(60):
        rows = pack(documents[step % 6 * 40 : step % 6 * 40 + 40], 64, model.tokenizer.end_id)
        optimizer.zero_grad()
        model.loss(conditioning.without_prompts(rows, model.tokenizer)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for author, other in (("ann", "bob"), ("bob", "ann")):
        prompts = [Prompt(conditions=Conditions(author=author))] * 24
        written = Counter(
            word
            for sample in model.generate(prompts, SamplingParams(max_new_tokens=24))
            for word in sample.text.split()
        )
        own, foreign = (sum(written[word] for word in words[name]) for name in (author, other))
        assert own > 20 * max(foreign, 1)
    unasked = Counter(
        word for sample in model.generate([""] * 40, SamplingParams(max_new_tokens=24)) for word in sample.text.split()
    )
    assert all(sum(unasked[word] for word in words[name]) > 10 for name in words)


FORGED = tiny(["the cat sat on the mat"] * 3)
conditioning.teach(FORGED, CONDITIONS)
