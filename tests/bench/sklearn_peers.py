"""Runs in an environment with scikit-learn: JSON in (`texts`, `rewards`, `new`), predictions of each peer out.

Nothing of Kilroy is imported here, and nothing of Kilroy imports this: `bench_reward_model` starts it as a program.
"""

import json
import sys

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import FeatureUnion

WORDS = {"ngram_range": (1, 2), "sublinear_tf": True}
LETTERS = {"analyzer": "char_wb", "ngram_range": (3, 5), "sublinear_tf": True}
ALPHAS = np.logspace(-2, 3, 11)


def ridge(vectorizer, task):
    """TF-IDF ridge, its penalty chosen by leave-one-out."""
    model = RidgeCV(alphas=ALPHAS).fit(vectorizer.fit_transform(task["texts"]), task["rewards"])
    return model.predict(vectorizer.transform(task["new"]))


def boosting(task):
    """Gradient boosting over TF-IDF of words."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2)
    rows = vectorizer.fit_transform(task["texts"]).toarray()
    model = GradientBoostingRegressor(subsample=0.8, random_state=0).fit(rows, task["rewards"])
    return model.predict(vectorizer.transform(task["new"]).toarray())


def peers(task):
    """Predictions for the new texts, by peer."""
    both = FeatureUnion([("words", TfidfVectorizer(**WORDS)), ("letters", TfidfVectorizer(**LETTERS))])
    return {
        "ridge, words": ridge(TfidfVectorizer(**WORDS), task).tolist(),
        "ridge, words and letters": ridge(both, task).tolist(),
        "gradient boosting": boosting(task).tolist(),
    }


if __name__ == "__main__":
    json.dump([peers(task) for task in json.load(sys.stdin)], sys.stdout)
