"""Fits the simulated audience and makes the demo dataset: `python -m faces.kinds.sandbox.fit --posts FILE`.

The posts are split by a hash of their normalised text. The audience half is what the audience is fitted to; the learner
half is what the demo dataset is made from; no text is in both. A fifth of the audience half is kept out of the fit to
set its scale. Target: the score's rank within its community after a quadratic trend in time was taken out (communities
grew), as a normal score. Model: ridge regression, solved in its dual form, over length-normalised TF-IDF of words, word
pairs and pieces of words, their leading singular directions, and style. Needs numpy only.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import NormalDist

import numpy as np

from faces.kinds.sandbox import audience, features
from faces.kinds.sandbox.fluency import LETTERS, Fluency, letter_ids

DEMO = Path(__file__).resolve().parents[3] / "training" / "demo" / "posts.csv"
DEMO_POSTS = 5000
RARE, FREQUENT_WORDS, TOPICS = 3, 350, 80
RIDGE = 15.0
# how much each kind of feature may explain; topics and style first, because a learner can find those from few posts
SHARE = {"words": 0.5, "topics": 1.0, "pairs": 0.2, "pieces": 0.3, "style": 1.0}


@dataclass(frozen=True)
class RealPost:
    """One row of the source file."""

    created_at: str
    text: str
    score: int
    community: str


def read_posts(path: Path) -> list[RealPost]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            RealPost(row["created_at"], row["text"], int(row["score"]), row.get("community") or row["subreddit"])
            for row in csv.DictReader(file)
        ]


def is_audience(text: str) -> bool:
    """Whether a text belongs to the audience's half (else to the learner's): the top bit of its stable hash."""
    return features.stable_hash(text) >> 63 == 0


def is_calibration(text: str) -> bool:
    """Whether a text of the audience's half is kept out of the fit to set its scale."""
    return features.stable_hash(text) % 5 == 0


def target(posts: Sequence[RealPost]) -> np.ndarray:
    """Normal score of each post's log score within its community, after a quadratic trend in time; float64 of shape
    (len(posts),).
    """
    years = np.array([datetime.fromisoformat(post.created_at).timestamp() for post in posts]) / (365 * 86400) - 42
    scores = np.log1p(np.array([post.score for post in posts], dtype=np.float64))
    communities = np.array([post.community for post in posts])
    result = np.zeros(len(posts))
    for name in sorted(set(communities)):
        member = communities == name
        trend = np.stack([np.ones(member.sum()), years[member], years[member] ** 2], axis=1)
        left = scores[member] - trend @ np.linalg.lstsq(trend, scores[member], rcond=None)[0]
        result[member] = [NormalDist().inv_cdf((rank + 0.5) / len(left)) for rank in ranks(left)]
    return result


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Spearman's rank correlation (ties broken by order)."""
    return float(np.corrcoef(ranks(left), ranks(right))[0, 1])


def pack(words: Sequence[str]) -> np.ndarray:
    return np.frombuffer("\n".join(words).encode(), dtype=np.uint8)


def tfidf(counted: Sequence[Counter[int]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Length-normalised (1 + log count)·idf matrix (posts, size) float32 and the idf (size,), 0 for what fewer than 2
    posts have.
    """
    matrix = np.zeros((len(counted), size), dtype=np.float32)
    for row, counts in enumerate(counted):
        for at, times in counts.items():
            matrix[row, at] = 1 + np.log(times)
    seen = (matrix > 0).sum(axis=0)
    idf = np.where(seen >= 2, np.log((1 + len(counted)) / (1 + seen)), 0.0).astype(np.float32)
    matrix *= idf
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True) + 1e-6
    return matrix, idf


def topic_directions(matrix: np.ndarray) -> np.ndarray:
    """Whitened leading singular directions (features, TOPICS) by randomised subspace iteration (Halko, Martinsson and
    Tropp 2011).
    """
    start = np.random.default_rng(0).standard_normal((matrix.shape[1], TOPICS + 16)).astype(np.float32)
    basis = np.linalg.qr(matrix @ start)[0]
    for _ in range(4):
        basis = np.linalg.qr(matrix @ (matrix.T @ basis))[0]
    directions = np.linalg.svd(basis.T @ matrix, full_matrices=False)[2][:TOPICS].T
    return directions / ((matrix @ directions).std(axis=0) * np.sqrt(TOPICS))


def fit_appeal(posts: Sequence[RealPost], vocabulary: Sequence[str], scored: int) -> dict[str, np.ndarray]:
    """Ridge weights per feature, by name as `Audience` reads them."""
    found = [features.tokens(post.text) for post in posts]
    index = {word: at for at, word in enumerate(vocabulary[:scored])}
    words, word_idf = tfidf([Counter(index[token] for token in row if token in index) for row in found], scored)
    pairs, pair_idf = tfidf([features.pairs(row) for row in found], features.PAIR_BINS)
    pieces, piece_idf = tfidf([features.pieces(row) for row in found], features.PIECE_BINS)
    style = np.array([features.style(post.text, row) for post, row in zip(posts, found, strict=True)])
    mean, sd = style.mean(axis=0), style.std(axis=0)
    style = np.clip((style - mean) / sd, -features.STYLE_LIMIT, features.STYLE_LIMIT).astype(np.float32)
    directions = topic_directions(words)
    topics = words @ directions
    topics -= topics.mean(axis=0)
    share = {**SHARE, "style": SHARE["style"] / style.shape[1]}
    blocks = {"words": words, "topics": topics, "pairs": pairs, "pieces": pieces, "style": style}
    kernel = sum(share[name] * (block @ block.T) for name, block in blocks.items())
    wanted = target(posts)
    dual = np.linalg.solve(kernel + RIDGE * np.eye(len(posts), dtype=np.float32), wanted - wanted.mean())
    weight = {name: share[name] * (block.T @ dual) for name, block in blocks.items()}
    return {
        "word_idf": word_idf.astype(np.float16),
        "word_weight": (weight["words"] + directions @ weight["topics"]).astype(np.float32),
        "pair_idf": pair_idf.astype(np.float16),
        "pair_weight": weight["pairs"].astype(np.float16),
        "piece_idf": piece_idf.astype(np.float16),
        "piece_weight": weight["pieces"].astype(np.float16),
        "style_mean": mean,
        "style_sd": sd,
        "style_weight": weight["style"].astype(np.float64),
        "appeal": np.array([0.0, 1e9]),
    }


def fit_fluency(posts: Sequence[RealPost], vocabulary: Sequence[str]) -> dict[str, np.ndarray]:
    """Trigram counts of word classes and letter trigrams, by name as `Fluency` reads them."""
    found = [features.tokens(post.text) for post in posts]
    frequent = [word for word, _ in Counter(token for row in found for token in row).most_common(FREQUENT_WORDS)]
    kinds = [features.START, features.UNKNOWN, "<short>", "<word>", *(f"<{suffix}>" for suffix in features.SUFFIXES)]
    names = kinds + [word for word in frequent if word not in kinds]
    classes, allowed = {name: at for at, name in enumerate(names)}, frozenset(names)
    counts: Counter[int] = Counter()
    for row in found:
        ids = [0, 0, *(classes.get(features.word_class(token, allowed), 1) for token in row)]
        counts.update((a * len(names) + b) * len(names) + c for a, b, c in zip(ids, ids[1:], ids[2:], strict=False))
    keys = np.array(sorted(counts), dtype=np.uint32)
    letters = np.full((LETTERS, LETTERS, LETTERS), 0.05)
    for word in vocabulary:
        spelled = letter_ids(word) if features.is_word(word) else None
        if spelled is not None:
            np.add.at(letters, (spelled[:-2], spelled[1:-1], spelled[2:]), 1.0)
    return {
        "classes": pack(names),
        "trigram_keys": keys,
        "trigram_counts": np.array([min(counts[int(key)], 65535) for key in keys], dtype=np.uint16),
        "letters": np.log(letters / letters.sum(axis=2, keepdims=True)).astype(np.float16),
    }


def fit_audience(posts: Sequence[RealPost]) -> dict[str, np.ndarray]:
    """Everything the data file holds, from the audience half of `posts`."""
    half = [post for post in posts if is_audience(post.text)]
    fitted = [post for post in half if not is_calibration(post.text)]
    held_out = [features.tokens(post.text) for post in half if is_calibration(post.text)]
    texts = [post.text for post in half if is_calibration(post.text)]
    seen = Counter(token for post in fitted for token in set(features.tokens(post.text)))
    vocabulary = sorted(seen, key=lambda word: (-seen[word], word))
    scored = sum(times >= RARE for times in seen.values())
    data = {"vocabulary": pack(vocabulary), **fit_fluency(fitted, vocabulary), **fit_appeal(fitted, vocabulary, scored)}
    raw = measure(audience.Audience(data).raw_appeal, texts, held_out)
    data["appeal"] = np.array([raw.mean(), raw.std()])
    fluency = Fluency(data)
    order = np.array([fluency.order(row) for row in held_out])
    strange = np.array([fluency.strangeness(row) for row in held_out])
    data["fluency"] = np.array([
        np.quantile(order, 0.1), order.std(), np.quantile(strange, 0.9), strange.std()
    ])  # fmt: skip
    expected = audience.Audience(data).expected(texts)
    data["standard"] = np.array([expected.mean(), expected.std()])
    return data


def measure(
    of: Callable[[str, Sequence[str]], float], texts: Sequence[str], found: Sequence[Sequence[str]]
) -> np.ndarray:
    return np.array([of(text, row) for text, row in zip(texts, found, strict=True)])


def write_demo(posts: Sequence[RealPost], path: Path) -> int:
    """The demo dataset: the learner-half posts with the lowest hashes, oldest first. Returns how many."""
    half = sorted(
        (post for post in posts if not is_audience(post.text)), key=lambda post: features.stable_hash(post.text)
    )
    unique = {features.stable_hash(post.text): post for post in reversed(half)}
    chosen = sorted(sorted(unique.items())[:DEMO_POSTS], key=lambda item: (item[1].created_at, item[0]))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["created_at", "text", "score", "community"])
        writer.writerows((post.created_at, post.text, post.score, post.community) for _, post in chosen)
    return len(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--posts", type=Path, required=True, help="the scored posts, as CSV")
    parser.add_argument("--audience", type=Path, default=audience.DATA)
    parser.add_argument("--demo", type=Path, default=DEMO)
    arguments = parser.parse_args()
    posts = read_posts(arguments.posts)
    np.savez_compressed(arguments.audience, allow_pickle=False, **fit_audience(posts))
    written = write_demo(posts, arguments.demo)
    learner = [post for post in posts if not is_audience(post.text)]
    found = audience.Audience.load(arguments.audience).expected([post.text for post in learner])
    report = {
        "demo_posts": written,
        "heldout_posts": len(learner),
        "heldout_rank_correlation": round(rank_correlation(found, target(learner)), 3),
        "heldout_mean": round(float(found.mean()), 3),
        "heldout_sd": round(float(found.std()), 3),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
