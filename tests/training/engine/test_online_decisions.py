"""What DPO and KTO make of people's decisions."""

from dataclasses import replace

import pytest

from tests.training.engine import writers
from tests.training.engine.test_online_algorithms import config_of
from tests.training.engine.test_online_rounds import ignore, later_round
from training.engine.algorithms import dpo, kto
from training.engine.models.causal import CausalLanguageModel
from training.engine.online import run_round
from training.engine.online_decisions import MOST_PAIRS, preference_pairs
from training.engine.types import Decision

MODULES = {"dpo": dpo, "kto": kto}


@pytest.fixture
def taught(monkeypatch):
    """The batches of all steps: texts, and +1 for what is preferred."""
    seen, model = [], CausalLanguageModel.load(str(writers.writer_folder()))

    def spy(honest):
        def loss(batch, params):
            texts = [
                model.tokenizer.decode(own[: -1 if own[-1] == model.tokenizer.end_id else None])
                for _, own in batch.documents
            ]
            seen.append(list(zip(texts, batch.rewards.tolist(), strict=True)))
            return honest(batch, params)

        return loss

    for module in MODULES.values():
        monkeypatch.setattr(module, "loss", spy(module.loss))
    return seen


def round_of(tmp_path, algorithm, decisions, **changes):
    return later_round(tmp_path, (), config=config_of(algorithm), decisions=tuple(decisions), **changes)


def approved(count, begin=0):
    return [Decision(f"apple bread {number}", "approved") for number in range(begin, begin + count)]


def declined(count, begin=0):
    return [Decision(f"cloud dance {number}", "declined") for number in range(begin, begin + count)]


def edited(count):
    return [Decision(f"eagle field {n}", "declined", rewritten=f"grape house {n}") for n in range(count)]


def texts_of(pairs):
    return [(pair.better, pair.worse) for pair in pairs]


def test_too_few_decisions_are_named(tmp_path):
    few = (Decision("apple", "approved"), Decision("bread", "declined"), Decision("cloud", "declined"))
    given = later_round(tmp_path, (), config=config_of("dpo"), decisions=few)
    said, *_ = run_round(given, ignore).decisions
    assert said.startswith(
        "No policy step: people's new decisions make 2 pairs of a better and a worse text, at least 4"
    )
    said, *_ = run_round(replace(given, config=config_of("kto")), ignore).decisions
    assert said.startswith("No policy step: people newly approved 1 and declined 2 posts; at least 8 in all")


def test_a_declined_text_is_paired_with_the_approved_one_nearest_in_time():
    given = [
        Decision("good one", "approved"),
        Decision("bad one", "declined"),
        Decision("elegant", "approved"),
        Decision("worse", "declined"),
        Decision("worst", "declined"),
    ]
    assert texts_of(preference_pairs(given)) == [("good one", "bad one"), ("elegant", "worse"), ("elegant", "worst")]
    assert preference_pairs(given[3:]) == []


def test_an_edited_text_is_paired_with_what_it_was_made_into_and_no_other():
    given = [
        Decision("X", "approved"),
        Decision("A dull one", "declined", rewritten="A brighter one"),
        Decision("A brighter one", "approved"),
        Decision("Without words", "declined", rewritten=" "),
    ]
    assert texts_of(preference_pairs(given)) == [("A brighter one", "A dull one")]


def test_dpo_learns_from_edits_alone(tmp_path, taught):
    output = run_round(round_of(tmp_path, "dpo", edited(4)), ignore)
    assert output.model is not None
    assert taught[0] == [(f"grape house {n}", 1.0) for n in range(4)] + [(f"eagle field {n}", -1.0) for n in range(4)]


def test_to_kto_an_edit_declines_the_old_wording(tmp_path, taught):
    run_round(round_of(tmp_path, "kto", [*approved(5), *edited(3)]), ignore)
    assert taught[0] == [(f"apple bread {n}", 1.0) for n in range(5)] + [(f"eagle field {n}", -1.0) for n in range(3)]


@pytest.mark.parametrize("algorithm", MODULES)
def test_decisions_that_are_too_many_for_a_round_wait_for_the_next(tmp_path, taught, algorithm):
    many = [
        decision for pair in zip(approved(MOST_PAIRS + 5), declined(MOST_PAIRS + 5), strict=True) for decision in pair
    ]
    given = round_of(tmp_path, algorithm, many)
    first = run_round(given, ignore)
    assert len(taught[0]) == 2 * MOST_PAIRS
    assert len(first.state["trained"]) == 2 * MOST_PAIRS
    taught.clear()
    second = run_round(replace(given, state=first.state, policy=first.model, workdir=tmp_path / "next"), ignore)
    left = [f"apple bread {n}" for n in range(5)], [f"cloud dance {n}" for n in range(5)]
    assert taught[0] == [(text, 1.0) for text in left[0]] + [(text, -1.0) for text in left[1]]
    assert len(second.state["trained"]) == len(many)


def test_kto_hears_the_rarer_verdict_however_old_it_is(tmp_path, taught):
    run_round(round_of(tmp_path, "kto", [*declined(1), *approved(2 * MOST_PAIRS)]), ignore)
    assert [value for _, value in taught[0]].count(-1.0) == 1
    assert len(taught[0]) == MOST_PAIRS + 1


def test_an_approved_text_that_no_pair_needed_is_there_for_a_later_declined_one(tmp_path, taught):
    given = round_of(tmp_path, "dpo", [*approved(1), *edited(4)])
    first = run_round(given, ignore)
    more = replace(given, decisions=(*given.decisions, *declined(4)), state=first.state, workdir=tmp_path / "next")
    run_round(more, ignore)
    assert taught[-1] == [("apple bread 0", 1.0)] * 4 + [(f"cloud dance {n}", -1.0) for n in range(4)]
