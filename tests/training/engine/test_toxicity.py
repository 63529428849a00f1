"""A toxicity classifier of transformers, made on the spot: which labels count, and that texts keep their order."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from numpy.testing import assert_allclose
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from training.engine.errors import ModelUnavailable
from training.engine.round_types import Proposal, RoundOutput
from training.engine.toxicity import ToxicityClassifier, is_harmful, judged
from training.engine.types import SamplingParams

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "morning", "vermin", "you", "are"]


def classifier(folder: Path, labels: list[str], problem: str, biases: list[float]) -> ToxicityClassifier:
    """A tiny BERT that answers `biases` whatever it reads."""
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        initializer_range=1.0,
        problem_type=problem,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    torch.manual_seed(0)
    network = BertForSequenceClassification(config)
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.tensor(biases))
    network.save_pretrained(folder)
    return ToxicityClassifier(str(folder))


def test_of_several_kinds_of_harm_the_worst_counts(tmp_path):
    # σ(0) = ½, σ(ln 3) = ¾; the label of no harm says nothing.
    found = classifier(
        tmp_path, ["toxic", "insult", "neutral"], "multi_label_classification", [0.0, 1.0986123, 9.0]
    ).score(["good morning"] * 20)
    assert_allclose(found, [0.75] * 20, atol=1e-5)


def test_of_exclusive_labels_the_harmful_ones_add_up(tmp_path):
    # softmax of 0, ln 2, 0: ¼, ½, ¼.
    found = classifier(
        tmp_path, ["offensive", "non-toxic", "hate speech"], "single_label_classification", [0.0, 0.6931472, 0.0]
    ).score(["good morning"])
    assert_allclose(found, [0.5], atol=1e-5)


def test_each_text_gets_its_own_answer_whatever_it_is_padded_to(tmp_path):
    scorer = classifier(tmp_path, ["toxic", "neutral"], "single_label_classification", [0.0, 0.0])
    torch.manual_seed(1)
    with torch.no_grad():
        scorer._network.classifier.weight.normal_(std=3.0)
    texts = ["good", "you are vermin " * 300, "vermin vermin", "", "good morning you are"] * 4
    together = scorer.score(texts)
    assert_allclose(together, [scorer.score([text])[0] for text in texts], atol=1e-4)
    assert len({round(x, 3) for x in together}) > 3
    assert all(0 <= x <= 1 for x in together)


def test_a_round_has_its_proposals_judged(tmp_path):
    name = str(tmp_path)
    classifier(tmp_path, ["toxic", "neutral"], "single_label_classification", [0.0, 1.0986123])
    proposal = Proposal("good morning", "learning", -3.0, SamplingParams())
    output = RoundOutput(None, (proposal, replace(proposal, text="vermin")), {}, ("Decided.",), {})
    answer = judged(output, name)
    assert_allclose([each.toxicity for each in answer.proposals], [0.25, 0.25], atol=1e-5)
    assert (answer.proposals[1].text, answer.decisions) == ("vermin", ("Decided.",))
    assert judged(output, "") is output


def test_a_round_goes_on_when_its_classifier_cannot_be_had_and_says_so(tmp_path):
    proposal = Proposal("good morning", "learning", -3.0, SamplingParams())
    output = RoundOutput(None, (proposal,), {}, ("Decided.",), {})
    answer = judged(output, str(tmp_path / "nothing"))
    assert answer.proposals == output.proposals
    assert answer.decisions[1].startswith("Toxicity was judged by the built-in word list alone.")


def test_a_classifier_of_something_else_is_refused_in_words(tmp_path):
    with pytest.raises(ModelUnavailable, match=r"sounds harmful \(positive, negative\)"):
        classifier(tmp_path, ["positive", "negative"], "single_label_classification", [0.0, 0.0])


def test_a_classifier_that_is_not_there_is_refused_in_words(tmp_path):
    with pytest.raises(ModelUnavailable, match="could not be loaded"):
        ToxicityClassifier(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("label", "harmful"),
    [("toxic", True), ("severe_toxicity", True), ("HATE", True), ("identity_attack", True), ("non-toxic", False),
     ("not offensive", False), ("neutral", False), ("LABEL_1", False), ("positive", False)],
)  # fmt: skip
def test_labels_tell_by_their_names_whether_they_are_harm(label, harmful):
    assert is_harmful(label) is harmful
