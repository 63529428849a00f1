import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.training.engine import writers
from training.engine import basis
from training.engine.encoding import encode
from training.engine.features import Encoding, FeatureSpace, principal_axes
from training.engine.models.causal import CausalLanguageModel
from training.engine.types import HistoricPost


@pytest.fixture(scope="module")
def model():
    return CausalLanguageModel.load(str(writers.writer_folder()))


def test_principal_axes_by_hand():
    # All variance lies along (3, 4)/5.
    rows = np.outer([-2.0, 0.0, 2.0], [0.6, 0.8])
    assert_allclose(principal_axes(rows, 1), [[0.6], [0.8]], atol=1e-12)
    assert principal_axes(rows, 5).shape == (2, 2)


def test_word_axes_agree_with_a_dense_decomposition():
    texts = writers.invented_posts(60, seed=5)
    silent = Encoding(np.zeros((60, 2)), tuple(np.zeros(1) for _ in texts))
    space = FeatureSpace.fit(texts, silent, slice(0, 60), seed=0)
    dense = np.zeros((60, len(space.vocabulary)))
    for row, text in enumerate(texts):
        for word in set(text.split()) & set(space.vocabulary):
            dense[row, space.vocabulary[word]] = space.rarity[space.vocabulary[word]]
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    kept = min(space.word_axes.shape[1], 5)
    expected = np.linalg.svd(dense)[1][:kept]
    assert_allclose(np.linalg.norm(dense @ space.word_axes[:, :kept], axis=0), expected, rtol=0.02)


def test_features_are_standard_on_the_standard_texts_and_clipped_elsewhere():
    texts = writers.invented_posts(80, seed=6)
    rng = np.random.default_rng(0)
    encoding = Encoding(rng.standard_normal((80, 8)), tuple(rng.standard_normal(5) - 3 for _ in texts))
    space = FeatureSpace.fit(texts, encoding, slice(0, 40), seed=0)
    standard = space.transform(texts, encoding)[:40]
    moving = standard.std(axis=0) > 0
    assert_allclose(standard.mean(axis=0), 0, atol=0.05)
    assert_allclose(standard.std(axis=0)[moving], 1, atol=0.1)
    odd = space.transform(["?!?! " * 50], Encoding(np.full((1, 8), 1e6), (np.full(3, -99.0),)))
    assert np.abs(odd).max() == 4.0
    assert space.kinds.tolist().count(0) == 8
    assert space.width == len(space.kinds) == standard.shape[1]


def test_an_empty_text_has_features():
    texts = ["", *writers.invented_posts(20, seed=7)]
    encoding = Encoding(np.zeros((21, 2)), (np.zeros(0), *(np.zeros(2) for _ in range(20))))
    space = FeatureSpace.fit(texts, encoding, slice(0, 21), seed=0)
    assert np.isfinite(space.transform(texts, encoding)).all()


def test_encoding_agrees_with_the_models_own_log_probabilities(model):
    texts = ["apple bread", "", "cloud dance eagle field grape house island"]
    encoding = encode(model, texts)
    for own, expected in zip(encoding.logprobs, model.logprobs(texts), strict=True):
        assert_allclose(own, expected, atol=0.05)
    assert encoding.pooled.shape == (3, 64)
    alone = encode(model, texts[:1])
    assert_allclose(alone.pooled[0], encoding.pooled[0], atol=0.05)


def test_a_basis_is_kept_and_read_back_as_it_was(model, tmp_path):
    first = basis.prepare(model, writers.history(), writers.CONFIG, tmp_path)
    kept = list(tmp_path.iterdir())
    written = kept[0].stat().st_mtime_ns
    second = basis.prepare(model, writers.history(), writers.CONFIG, tmp_path)
    texts = writers.invented_posts(10, seed=8)
    assert_allclose(second.columns(texts, encode(model, texts)), first.columns(texts, encode(model, texts)))
    assert second.reference_texts == first.reference_texts
    assert list(tmp_path.iterdir()) == kept
    assert kept[0].stat().st_mtime_ns == written


def test_a_damaged_basis_is_made_again(model, tmp_path):
    first = basis.prepare(model, writers.history(), writers.CONFIG, tmp_path)
    next(tmp_path.iterdir()).write_bytes(b"not an archive")
    second = basis.prepare(model, writers.history(), writers.CONFIG, tmp_path)
    texts = writers.invented_posts(5, seed=8)
    assert_allclose(second.columns(texts, encode(model, texts)), first.columns(texts, encode(model, texts)))


def test_another_history_is_another_basis(model, tmp_path):
    basis.prepare(model, writers.history(40), writers.CONFIG, tmp_path)
    basis.prepare(model, writers.history(41), writers.CONFIG, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_history_that_predicts_is_trusted_and_orders_new_posts(model, tmp_path):
    known = basis.prepare(model, writers.history(400), writers.CONFIG, tmp_path)
    assert known.history.trust == 1.0
    texts = writers.invented_posts(80, seed=9)
    opinion = known.columns(texts, encode(model, texts))[:, -2]
    liked = np.array([writers.likes_fruit(text) for text in texts])
    assert opinion[liked > 0].mean() > opinion[liked == 0].mean() + 0.5
    assert known.prior().mean[-2] == basis.HISTORY_WEIGHT


def test_beliefs_are_in_proportion_to_what_the_components_vary():
    texts = writers.invented_posts(80, seed=6)
    rng = np.random.default_rng(0)
    pooled = rng.standard_normal((80, 3)) * [3.0, 1.0, 0.0]
    space = FeatureSpace.fit(texts, Encoding(pooled, tuple(np.zeros(2) for _ in texts)), slice(0, 80), seed=0)
    variance = np.array([*np.sort(np.linalg.eigvalsh(np.cov(pooled[:, :2].T)))[::-1], 0.0])
    assert_allclose(space.importance[:3], np.maximum(variance / variance.mean(), 1e-3), rtol=1e-6)
    assert_allclose(space.importance[space.kinds == 1].mean(), 1.0, atol=0.05)
    assert (space.importance[space.kinds >= 2] == 1.0).all()


def test_what_people_write_is_told_from_what_the_reference_writes(model, tmp_path):
    people = [HistoricPost(" ".join(["thus", *text.split()[:4]])) for text in writers.invented_posts(160, seed=3)]
    made = basis.prepare(model, people, writers.CONFIG, tmp_path)
    texts = writers.invented_posts(60, seed=9)
    alike = [" ".join(["thus", *text.split()[:4]]) for text in texts]
    columns = made.columns([*texts, *alike], encode(model, [*texts, *alike]))
    assert columns.shape == (120, made.width)
    assert columns[60:, -3].mean() > columns[:60, -3].mean() + 1.0
    assert made.prior().mean[-3] == basis.REALISM_WEIGHT


def test_a_signal_of_the_past_alone_is_not_trusted(model, tmp_path):
    texts = writers.invented_posts(200, seed=3)
    # Of the last four fifths nobody could have foretold anything.
    rng = np.random.default_rng(1)
    scores = [
        writers.likes_fruit(text) if place < 40 else float(rng.standard_normal()) for place, text in enumerate(texts)
    ]
    faded = [HistoricPost(text, score) for text, score in zip(texts, scores, strict=True)]
    assert basis.prepare(model, faded, writers.CONFIG, tmp_path).history.trust < 0.5


@pytest.mark.parametrize("scores", [[None] * 160, [1.0] * 160, [0.0, 1.0] * 20 + [None] * 120])
def test_history_without_enough_to_say_is_silent(model, tmp_path, scores):
    posts = [HistoricPost(text, score) for text, score in zip(writers.invented_posts(160, 3), scores, strict=True)]
    silent = basis.prepare(model, posts, writers.CONFIG, tmp_path)
    assert silent.history.trust == 0.0
    assert silent.prior().mean[-2] == 0.0


def test_a_growing_audience_is_not_mistaken_for_better_posts(model, tmp_path):
    texts = writers.invented_posts(160, seed=3)
    grown = [HistoricPost(text, 3.0 * place / 160) for place, text in enumerate(texts)]
    assert basis.prepare(model, grown, writers.CONFIG, tmp_path).history.trust == 0.0


def test_a_bot_without_history_has_a_basis(model, tmp_path):
    alone = basis.prepare(model, (), writers.CONFIG, tmp_path)
    assert alone.history.trust == 0.0
    assert len(alone.reference_texts) == basis.REFERENCE_SAMPLES
