"""The starter's corpus filter, and its whole command on a few hundred posts."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from training.engine import starter
from training.engine.models.causal import CausalLanguageModel
from training.engine.starter_corpus import TokenizedPosts, clean, read_corpus, wanted
from training.engine.tokenizer import train_tokenizer

SUBJECTS = ["cat", "dog", "bike", "garden", "train", "song", "book", "river", "kitchen", "phone"]
VERBS = ["likes", "finds", "breaks", "misses", "paints", "follows"]


def sentences() -> list[str]:
    return [f"The {a} {verb} my old {b} again" for a in SUBJECTS for verb in VERBS for b in SUBJECTS if a != b]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.tsv"
    path.write_text("".join(f"community\t{text}\n" for text in sentences()), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "too short",
        "Two words-only-here",
        "Look at http://example.org/page today",
        "My story is on www.example.org now",
        "Thanks to u/somebody for the tip",
        "What the fuck is going on",
        "A broken � title of a post",
        "Hellooooooooo there my friend",
        "[12/34] (56:78) :: 90 -> 12 go",
        "word " * 60,
    ],
)
def test_unwanted_posts_are_left_out(text: str) -> None:
    assert not wanted(text.strip())


@pytest.mark.parametrize(
    "text", ["How do you make good coffee?", "My assessment of Scunthorpe's cocktail class", "Où est le café?"]
)
def test_ordinary_posts_stay(text: str) -> None:
    assert wanted(text)


def test_entities_and_white_space_are_resolved() -> None:
    assert clean(" Cats &amp;amp; dogs\t\n &lt;3 ") == "Cats & dogs <3"


def test_a_corpus_is_read_once_each_without_what_is_excluded(tmp_path: Path) -> None:
    path, excluded = tmp_path / "corpus.tsv", tmp_path / "demo.csv"
    path.write_text("a\tThe cat is here\nb\tthe cat is HERE\na\tMy dog &amp; I walk\nThe bird without community\n")
    excluded.write_text('score,text\n3,"my dog & i walk"\n')

    assert read_corpus(path, [excluded]) == ["The cat is here", "The bird without community"]


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus.tsv").write_text("a\tno\n")

    with pytest.raises(ValueError, match="no usable posts"):
        read_corpus(tmp_path / "corpus.tsv")


def test_tokenized_posts_are_the_documents(posts: list[str]) -> None:
    tokenizer = train_tokenizer(posts, vocab_size=280)
    tokenized = TokenizedPosts(tokenizer, posts)
    documents = tokenizer.documents(posts)

    assert [tokenized[i] for i in range(len(tokenized))] == documents
    assert tokenized.targets == sum(len(d) - 1 for d in documents)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = starter.Recipe
    monkeypatch.setattr(
        starter, "Recipe", lambda **given: recipe(**{"vocab_size": 300, "width": 32, "layers": 1, "heads": 2, **given})
    )
    starter.Recipe.optimizer, starter.Recipe.learning_rate, starter.Recipe.rows = "muon", 3e-3, 2  # type: ignore[attr-defined]


@pytest.mark.usefixtures("small")
def test_the_command_exports_a_model_that_learned_with_its_card(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, work = tmp_path / "starter", tmp_path / "work"
    monkeypatch.setattr(starter, "FIRST_EXPORT_S", 0.2)
    arguments = ["--corpus", str(corpus), "--out", str(out), "--work", str(work), "--export-every", "0.2"]
    with caplog.at_level(logging.INFO):
        starter.main([*arguments, "--epochs", "4"])
    model = CausalLanguageModel.load(str(out))
    card = (out / "README.md").read_text()

    assert caplog.text.count("exported step") > 1
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "progress.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == model.tokenizer.end_id == 0
    learned, scrambled = "The cat likes my old dog again", "again dog old my likes cat The"
    assert sum(model.logprobs([learned])[0]) > sum(model.logprobs([scrambled])[0]) + 10
    assert "umbrae/reddit-top-2.5-million" in card
    assert card.count("``\n") == 40
    assert "{" not in card


@pytest.mark.usefixtures("small")
def test_the_command_goes_on_from_its_checkpoint(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["--corpus", str(corpus), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    starter.main([*arguments, "--epochs", "0.5"])
    with caplog.at_level(logging.INFO):
        starter.main([*arguments, "--epochs", "1"])
    steps = sorted(p.name for p in (tmp_path / "work" / "checkpoints").iterdir())

    assert f"resumed at step {int(steps[0].removeprefix('step-'))}" in caplog.text
    assert len(steps) == 2


@pytest.mark.usefixtures("small")
def test_a_training_can_go_on_from_an_exported_model(corpus: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    common = ["--corpus", str(corpus), "--epochs", "1"]
    starter.main([*common, "--out", str(first), "--work", str(tmp_path / "work1")])
    starter.main([*common, "--out", str(second), "--work", str(tmp_path / "work2"), "--start-from", str(first)])
    before, after = (json.loads((folder / "progress.json").read_text()) for folder in (first, second))

    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()
    assert (after["earlier_steps"], after["earlier_tokens"]) == (before["step"], before["tokens"])
    sentence = ["The cat likes my old dog again"]
    old, new = (sum(CausalLanguageModel.load(str(folder)).logprobs(sentence)[0]) for folder in (first, second))
    assert new > old + 3
    assert f"| tokens seen | {before['tokens'] + after['tokens']:,}" in (second / "README.md").read_text()


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit):
        starter.main(["--corpus", str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--device", "cuda"])
    assert "torch finds no GPU here. Leave --device out" in capsys.readouterr().err
