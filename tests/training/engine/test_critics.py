"""Discriminator, upvote classes and Stedden's ranking, on what was planted in them."""

import random
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.training.engine import writers
from training.engine.critics import discriminator, stedden, upvotes
from training.engine.critics.classifier import Classifier, fit
from training.engine.critics.reading import read
from training.engine.critics.training import history_rewards, reward_figures, train_critics
from training.engine.errors import CorruptWeights
from training.engine.models.causal import CausalLanguageModel
from training.engine.types import Conditions, RatedPost


@pytest.fixture(scope="module")
def model():
    return CausalLanguageModel.load(str(writers.writer_folder()))


def replies(count, seed=1):
    """Replies that get five upvotes for fruit, more of them for more of it, and none for the zebra."""
    rng = random.Random(seed)
    found = []
    for place in range(count):
        text = " ".join(rng.choices(writers.WORDS, k=6))
        score = 3.0 * writers.likes_fruit(text) + 1.0 - 2.0 * ("zebra" in text)
        found.append(RatedPost(text, Conditions(f"author {place // 8}", context=f"thread {place // 5}"), score))
    return found


def test_a_text_is_read_after_its_context(model):
    alone, again, answer = (read(model, ["apple bread"], [context]) for context in ("", "", "queen river stone table"))
    assert_allclose(alone.states, again.states)
    # The embeddings of the words are the same wherever they stand but for their places.
    assert np.abs(alone.states[:, 1] - answer.states[:, 1]).max() > 1e-3
    assert np.all(alone.states[:, 3] == 0.0)
    assert np.any(answer.states[:, 3] != 0.0)
    assert alone.numbers[0, -4:].tolist() == [0.0] * 4


def test_reading_in_company_changes_nothing(model):
    texts, contexts = writers.invented_posts(5, seed=3), ["", "apple", "", "bread " * 90, ""]
    together = read(model, texts, contexts)
    for place in range(5):
        alone = read(model, texts[place : place + 1], contexts[place : place + 1])
        assert_allclose(together.states[place], alone.states[0], atol=0.05)
        assert_allclose(together.numbers[place], alone.numbers[0], atol=0.1)


def test_log_probabilities_are_the_models_own(model):
    text = "apple bread cloud dance eagle"
    logprobs = model.logprobs([text])[0]
    assert_allclose(read(model, [text], [""]).numbers[0, 0], np.mean(logprobs), atol=0.05)
    assert_allclose(read(model, [text], [""]).numbers[0, 5], logprobs[-1], atol=0.1)


@pytest.mark.parametrize("texts", [[""], ["apple " * 300], ["\0 ☃"]])
def test_odd_texts_can_be_read(model, texts):
    reading = read(model, texts, ["bread " * 300])
    assert np.all(np.isfinite(reading.states))
    assert np.all(np.isfinite(reading.numbers))


def test_the_discriminator_finds_what_is_foreign(model):
    strange = [
        RatedPost(f"{text}!!! 123", Conditions(f"author {n}")) for n, text in enumerate(writers.invented_posts(160, 5))
    ]
    fitted, figures = discriminator.train(model, strange, 1.0, 24, seed=1)
    assert figures["trained"]
    assert figures["auc"] > 0.95
    assert figures["accuracy"] > 0.9
    assert figures["judged"] == 128
    probabilities = fitted.probabilities(read(model, ["apple cloud dance", "apple cloud dance!!! 123"], ["", ""]))
    assert probabilities[0, 1] < 0.3 < 0.7 < probabilities[1, 1]


def test_a_discriminator_that_cannot_tell_may_not_reject(model):
    drawn = [RatedPost(text) for text in writers.invented_posts(200, seed=6)]
    _, figures = discriminator.train(model, drawn, 1.0, 24, seed=1)
    assert figures["auc"] < 0.8
    assert figures["may_reject"] is (figures["calibrated"] and figures["auc"] >= discriminator.MIN_AUC)


def test_only_a_calibrated_discriminator_may_reject():
    rng = np.random.default_rng(0)
    probabilities = rng.random(400)
    happened = (rng.random(400) < probabilities).astype(float)
    honest = discriminator.judge(probabilities, happened, probabilities)
    assert (honest["calibrated"], honest["may_reject"]) == (True, True)
    assert honest["fluency_correlation"] == pytest.approx(1.0)
    boastful = discriminator.judge(np.where(probabilities > 0.5, 0.99, 0.01), happened, probabilities)
    assert (boastful["calibrated"], boastful["may_reject"]) == (False, False)
    few = discriminator.judge(probabilities[:40], happened[:40], probabilities[:40])
    assert few["may_reject"] is False


def test_too_few_held_out_posts_train_no_discriminator(model):
    fitted, figures = discriminator.train(model, replies(50), 1.0, 24, seed=1)
    assert fitted is None
    assert figures == {
        "trained": False,
        "reason": "50 real posts were held out; at least 100 by different authors are needed.",
    }


def test_classes_of_upvotes():
    assert [upvotes.class_of(score) for score in (-3, 0, 0.9, 1, 2, 4, 4.9, 5, 1e6)] == [0, 0, 0, 1, 2, 2, 2, 3, 3]
    assert_allclose(upvotes.expected_class(np.array([[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0]])), [2.0, 0.0])


def test_macro_auc_by_hand():
    probabilities = np.array([[0.9, 0.1, 0, 0], [0.6, 0.4, 0, 0], [0.2, 0.8, 0, 0], [0.7, 0.3, 0, 0]])
    # Class 0: .9 and .6 against .2 and .7: 3 of 4 pairs; class 1 the same; nobody is in the others.
    assert upvotes.macro_auc(probabilities, np.array([0, 0, 1, 1])) == 0.75
    assert upvotes.macro_auc(probabilities, np.zeros(4, dtype=int)) is None


def test_the_upvote_model_finds_what_is_liked(model):
    fitted, report = upvotes.train(model, replies(600), seed=1)
    assert report["posts"] == sum(report["classes"]) == 600
    assert report["macro_auc_time"] > 0.75
    fresh = replies(300, seed=9)
    reading = read(model, [post.text for post in fresh], [post.conditions.context for post in fresh])
    expected = upvotes.expected_class(fitted.probabilities(reading))
    labels = np.array([upvotes.class_of(post.score) for post in fresh])
    none, one, some, many = (expected[labels == label].mean() for label in range(4))
    assert none < one < some < many


@pytest.mark.parametrize("scores", [[None] * 300, [7.0] * 300, [float("nan")] * 300])
def test_scores_that_say_nothing_train_no_upvote_model(model, scores):
    posts = [RatedPost("a reply", Conditions(context="thread"), score) for score in scores]
    fitted, report = upvotes.train(model, posts, seed=1)
    assert fitted is None
    assert report["trained"] is False
    assert "at least 200 posts in two classes are needed" in report["reason"]


def test_a_classifier_survives_its_file_and_a_damaged_one_is_refused(model, tmp_path):
    texts = writers.invented_posts(80, seed=7)
    reading = read(model, texts, [""] * 80)
    labels = np.array([int("apple" in text or "stone" in text) for text in texts])
    fitted = fit(reading, labels, 2, seed=1)
    fitted.save(tmp_path / "critic.safetensors", {"auc": 0.5})
    loaded, report = Classifier.load(tmp_path / "critic.safetensors")
    assert report == {"auc": 0.5}
    assert_allclose(loaded.probabilities(reading), fitted.probabilities(reading))
    (tmp_path / "critic.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not a file")
    with pytest.raises(CorruptWeights, match="Fine-tune anew"):
        Classifier.load(tmp_path / "critic.safetensors")
    with pytest.raises(FileNotFoundError):
        Classifier.load(tmp_path / "nothing.safetensors")


def test_ranking_by_hand():
    texts = ["good", "unreal", "better", " ", "x" * 1000]
    realism, expected = np.array([0.95, 0.9, 0.91, 0.99, 0.99]), np.array([1.0, 3.0, 2.0, 3.0, 2.5])
    ranked = stedden.rank(texts, realism, expected, stedden.REALISM)
    assert [reply.text[:6] for reply in ranked] == ["better", "good", "unreal", " ", "xxxxxx"]
    assert [reply.objection for reply in ranked] == [
        "",
        "",
        "It passes for a person's with probability 0.90; more than 0.9 is asked for.",
        "It is empty.",
        "It has 1000 characters; fewer than 1000 are allowed.",
    ]
    unasked = stedden.rank(texts[:3], realism[:3], expected[:3], 0.0)
    assert [reply.text for reply in unasked] == ["unreal", "better", "good"]
    assert [reply.text for reply in stedden.rank(texts[:3], None, None, 0.0)] == texts[:3]


@pytest.fixture(scope="module")
def critics(tmp_path_factory):
    """A model folder with its critics, and their report."""
    folder = tmp_path_factory.mktemp("critics")
    for path in writers.writer_folder().iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    heldout = [
        replace(post, unseen=True, conditions=Conditions(f"stranger {at // 8}", context=f"another thread {at // 8}"))
        for at, post in enumerate(replies(160, seed=2))
    ]
    return folder, train_critics(folder, [*replies(400), *heldout], seed=1)


def test_every_critic_is_trained_and_kept_beside_the_weights(critics):
    folder, report = critics
    assert set(report) == {"discriminator", "upvotes", "reward_model"}
    assert all(part["trained"] for part in report.values())
    assert {path.name for path in folder.glob("*.safetensors")} == {
        "model.safetensors",
        "discriminator.safetensors",
        "upvotes.safetensors",
    }
    assert CausalLanguageModel.load(str(folder)).positions == 64
    assert discriminator.load(folder)[1] == report["discriminator"]


def test_reward_models_are_judged_by_time_and_by_author(critics):
    figures = critics[1]["reward_model"]
    assert figures["posts"] == 560
    for split in ("by_time", "by_author"):
        for found in figures[split].values():
            assert found["rank_correlation"] > 0.4
            # Counts of fruit are few whole numbers, so intervals hold more often than they say.
            half, most, nearly_all = (found[level] for level in ("50%", "80%", "95%"))
            assert 0.4 < half < most < nearly_all
            assert nearly_all > 0.85
        assert figures[f"{split}_on"] == "posts that the language model was not fine-tuned on"
        for name, found in figures[split].items():
            deciles = figures[f"{split}_deciles_{name}"]
            assert sum(group["count"] for group in deciles) == found["judged"]


def test_the_discriminator_and_the_upvote_model_are_judged_by_author_too(critics):
    assert critics[1]["discriminator"]["auc_author"] == pytest.approx(critics[1]["discriminator"]["auc"], abs=0.3)
    upvoted = critics[1]["upvotes"]
    for split in ("time", "author"):
        assert 0.5 < upvoted[f"macro_auc_{split}"] < 1.0
        assert upvoted[f"macro_auc_{split}_on"] == "posts that the language model was not fine-tuned on"


def test_replies_are_drawn_and_ranked(model, critics):
    folder, report = critics
    rankings = stedden.rank_replies(model, model, folder, ["thread 1", "thread 2"], 4, seed=3)
    assert [(ranking.context, len(ranking.replies)) for ranking in rankings] == [("thread 1", 4), ("thread 2", 4)]
    for ranking in rankings:
        allowed = [reply.upvotes for reply in ranking.replies if not reply.objection]
        assert allowed == sorted(allowed, reverse=True)
        assert stedden.NO_CONTEXTS in ranking.notes
        assert (stedden.MAY_NOT_REJECT in ranking.notes) is not report["discriminator"]["may_reject"]


def test_an_unreliable_discriminator_rejects_nothing_and_the_ranking_says_so(model, critics, tmp_path):
    fitted, report = discriminator.load(critics[0])
    fitted.save(tmp_path / discriminator.FILE, {**report, "may_reject": False})
    (ranking,) = stedden.rank_replies(model, model, tmp_path, ["thread 1"], 6, seed=3)
    assert all("passes for a person" not in reply.objection for reply in ranking.replies)
    assert ranking.notes == (stedden.NO_CONTEXTS, stedden.MAY_NOT_REJECT, stedden.NO_UPVOTES)


def test_a_model_without_critics_still_answers(model, tmp_path):
    (ranking,) = stedden.rank_replies(model, model, tmp_path, ["thread 1"], 2, seed=3)
    assert ranking.notes == (stedden.NO_CONTEXTS, stedden.NO_DISCRIMINATOR, stedden.NO_UPVOTES)
    assert [(reply.realism, reply.upvotes) for reply in ranking.replies] == [(None, None)] * 2


def test_a_history_with_few_scores_is_not_judged(model):
    figures = reward_figures(model, [RatedPost("a post", score=1.0)] * 99, seed=1)
    assert figures == {"trained": False, "reason": "99 past posts have a score; at least 100 are needed to judge by."}


def test_historical_rewards_by_hand():
    counts = [np.e - 1, np.e**3 - 1, 0.0, np.e**2 - 1, 1e6, np.e - 1]
    communities = ["a", "a", "b", "b", "a", "new"]
    posts = [
        RatedPost("x", Conditions(community=community), float(count))
        for count, community in zip(counts, communities, strict=True)
    ]
    # Logs of the first four are 1, 3 and 0, 2: means 2 and 1, spread 1; the viral one is clipped, the unknown
    # community's 1 is measured against the mean of all, 1.5.
    assert_allclose(history_rewards(posts, 4), [-1.0, 1.0, -1.0, 1.0, 3.0, -0.5], atol=1e-9)
    assert history_rewards([RatedPost("x", score=5.0)] * 4, 4).tolist() == [0.0] * 4
