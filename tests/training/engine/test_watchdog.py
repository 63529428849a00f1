"""The watchdog: a planted case for every reading, and quiet where nothing is wrong."""

import random
from dataclasses import replace

import pytest
import torch

from tests.training.engine import writers
from tests.training.engine.test_online_rounds import ignore, later_round, scored_posts
from training.engine import online_watch, watchdog
from training.engine.models.causal import CausalLanguageModel
from training.engine.online import run_round
from training.engine.watchdog import COMMON_WORDS, alarm_of, as_json, entropy_reading, watch

FILLERS = ["the", "a", "of", "in", "and", "to", "is", "was", "for", "with", "on", "my", "your", "it", "we"]
REFERENCE = [
    " ".join(word for pair in zip(post.split(), random.Random(n).choices(FILLERS, k=7), strict=False) for word in pair)
    for n, post in enumerate(writers.invented_posts(256, seed=3))
]
HISTORY = writers.invented_posts(300, seed=4)


def healthy(count: int, seed: int) -> list[str]:
    return random.Random(seed).sample(REFERENCE, count)


def reading(posts: list[str], name: str, history: list[str] = HISTORY) -> watchdog.Reading:
    return next(each for each in watch(posts, REFERENCE, history) if each.name == name)


def planted(share: float, wrong: list[str], count: int = 64) -> list[str]:
    """Healthy posts of which a share is replaced, in any order."""
    bad = round(share * count)
    posts = [*healthy(count - bad, 7), *(wrong[n % len(wrong)] for n in range(bad))]
    random.Random(1).shuffle(posts)
    return posts


def test_the_references_own_samples_raise_no_alarm() -> None:
    for count, draws in ((64, 60), (24, 40)):
        readings = [each for seed in range(draws) for each in watch(healthy(count, seed), REFERENCE, HISTORY)]
        assert {each.level for each in readings} == {"ok"}


def test_too_few_posts_say_nothing() -> None:
    assert watch(healthy(15, 0), REFERENCE, HISTORY) == []
    assert watch(healthy(16, 0), REFERENCE[:40], HISTORY) == []
    assert len(watch(healthy(16, 0), REFERENCE, HISTORY)) == 4


TEMPLATES = [f"If we {verb} our country gets {noun} again" for verb in writers.WORDS[:9] for noun in writers.WORDS[9:]]
BAIT = ["Like if you love {}", "RT if {}", "who else misses {}", "Share this: {}", "{} 🔥🔥🔥", "7 reasons for {}!"]
INSULTS = ["you are all {} idiots", "I hate {}", "what a stupid {}", "{} is pathetic"]
CASES = {
    "template_share": TEMPLATES,
    "bait_share": [text.format(word) for word in writers.WORDS for text in BAIT],
    "hostile_share": [text.format(word) for word in writers.WORDS for text in INSULTS],
    "topic_drift": [
        " ".join(random.Random(n).choices(["crypto", "moon", "token", "wallet", "airdrop", "profit", "coin"], k=7))
        for n in range(64)
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_each_kind_of_hacking_raises_its_alarm(name: str) -> None:
    found = reading(planted(0.9, CASES[name]), name)
    assert found.level == "alarm"
    assert found.value > found.limit > found.reference
    assert reading(healthy(64, 9), name).level == "ok"


@pytest.mark.parametrize(("name", "share"), [("template_share", 0.27), ("bait_share", 0.22), ("hostile_share", 0.15)])
def test_a_beginning_is_a_warning(name: str, share: float) -> None:
    assert reading(planted(share, CASES[name]), name).level == "warning"


def test_the_sentence_names_the_template_and_the_figures() -> None:
    found = reading(TEMPLATES[:64], "template_share")
    assert found.value == 1.0
    assert found.sentence.startswith("100% of the last 64 posts share one template (“if we")
    assert f"the limit is {found.limit:.0%}." in found.sentence


def test_what_past_posts_always_did_is_no_hacking() -> None:
    listicles = [f"7 reasons for {word}" for word in writers.WORDS]
    posts = planted(0.6, listicles)
    assert reading(posts, "bait_share").level == "alarm"
    assert reading(posts, "bait_share", listicles + HISTORY[:20]).level == "ok"


def test_templates_by_hand() -> None:
    common = frozenset({"if", "we", "our"})
    found = watchdog.templates_of("If we plant trees, our town", common)
    assert ("^", "if", "we") in found
    assert ("if", "we", "plant") in found
    assert ("if", "we", "…", "…", "our") in found
    assert ("we", "…", "…", "our", "…") in found
    assert watchdog.templates_of("!!!", common) == set()
    texts = ["if we plant trees our town", "if we bake bread our street", "something else"]
    assert watchdog.template_share(texts, common) == pytest.approx(2 / 3)
    assert len(watchdog.common_words(REFERENCE)) <= COMMON_WORDS


def test_word_distance_by_hand() -> None:
    """p = (1/2, 1/2, 0), q = (1/2, 0, 1/2): half of the words are shared, so half a bit."""
    first, second = ["apple bread"], watchdog.distribution(["apple cloud"])
    assert watchdog.word_distance(first, second) == pytest.approx(0.5)
    assert watchdog.word_distance(["apple cloud"], second) == pytest.approx(0.0)
    assert watchdog.word_distance(["dance"], second) == pytest.approx(1.0)


@pytest.mark.parametrize(("policy", "level"), [(2.9, "ok"), (2.0, "warning"), (1.4, "alarm"), (4.5, "ok")])
def test_entropy_is_held_against_the_references(policy: float, level: str) -> None:
    found = entropy_reading(policy, 3.0)
    assert (found.level, found.limit) == (level, 1.5)


def test_entropy_of_an_even_choice_is_its_logarithm() -> None:
    model = CausalLanguageModel.load(str(writers.writer_folder()))
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.zero_()
    assert online_watch.mean_entropy(model, ["apple bread", "cloud"]) == pytest.approx(
        torch.log(torch.tensor(float(model.tokenizer.vocab_size))).item(), rel=1e-3
    )
    assert online_watch.mean_entropy(model, []) == 0.0


def test_readings_are_plain_data() -> None:
    (first, *_) = as_json([entropy_reading(1.0, 3.0)])
    assert set(first) == {"name", "value", "reference", "limit", "level", "sentence", "on_trial"}


def test_only_alarms_are_told() -> None:
    readings = [entropy_reading(value, 3.0) for value in (3.0, 2.0, 1.0)]
    assert alarm_of(readings) == readings[2].sentence
    assert alarm_of(readings[:2]) == ""


def hacked(count: int = 32):
    return tuple(replace(post, text=f"like if you love {post.text}") for post in scored_posts(count))


@pytest.mark.parametrize("algorithm", ["reward_model_rloo", "reinforce"])
def test_an_alarm_holds_the_policy_where_it_is(tmp_path, algorithm: str) -> None:
    config = replace(writers.CONFIG, algorithm=algorithm, candidates_per_post=2)
    output = run_round(later_round(tmp_path, hacked(), config=config), ignore)
    assert output.model is None
    assert any(text.startswith("No policy step: the watchdog raised an alarm.") for text in output.decisions)
    levels = {each["name"]: each["level"] for each in output.report["watchdog"]}
    assert (levels["bait_share"], levels["entropy"]) == ("alarm", "ok")


def in_a_trial(tmp_path, before, on_trial):
    """A round after healthy or hacked posts, scored, and some on trial that have no score yet."""
    given = later_round(tmp_path, before)
    texts = tuple(post.text for post in on_trial)
    return replace(given, published_texts=(*given.published_texts, *texts), trial_texts=(*texts, "Cancelled"))


def levels_of(given) -> dict[tuple[str, bool], str]:
    return {(each.name, each.on_trial): each.level for each in online_watch.watch(given)}


def test_a_young_trial_does_not_blind_the_watchdog_to_all_posts(tmp_path) -> None:
    levels = levels_of(in_a_trial(tmp_path, hacked(), scored_posts(15, seed=5)))
    assert levels["bait_share", False] == "alarm"
    assert {on_trial for _, on_trial in levels} == {False}


def test_from_16_posts_on_what_was_written_on_trial_is_watched_by_itself(tmp_path) -> None:
    given = in_a_trial(tmp_path, scored_posts(64, seed=5), hacked(16))
    levels = levels_of(given)
    assert (levels["bait_share", False], levels["bait_share", True]) == ("warning", "alarm")
    assert [name for name, on_trial in levels if name == "entropy"] == ["entropy"]
    assert ("entropy", True) in levels
    bait = next(each for each in online_watch.watch(given) if (each.name, each.on_trial) == ("bait_share", True))
    assert bait.sentence.startswith("100% of the last 16 posts on trial fish for reactions; ")


def test_what_others_wrote_is_no_alarm_about_the_trial(tmp_path) -> None:
    levels = levels_of(in_a_trial(tmp_path, hacked(64), scored_posts(16, seed=5)))
    assert (levels["bait_share", False], levels["bait_share", True]) == ("alarm", "ok")


def test_too_few_posts_of_a_bot_are_not_watched(tmp_path) -> None:
    assert online_watch.watch(later_round(tmp_path, scored_posts(16))) == []  # 12 of the learning arm


def test_a_policy_without_a_choice_left_is_held_where_it_is(tmp_path) -> None:
    collapsed = CausalLanguageModel.load(str(writers.writer_folder()))
    with torch.no_grad():
        collapsed.network.transformer.ln_f.weight.mul_(8.0)
    collapsed.save(tmp_path / "collapsed")
    output = run_round(later_round(tmp_path, policy=tmp_path / "collapsed"), ignore)
    assert output.model is None
    levels = {each["name"]: each["level"] for each in output.report["watchdog"]}
    assert levels["entropy"] == "alarm"
    (said,) = (text for text in output.decisions if text.startswith("No policy step"))
    assert said.startswith("No policy step: the watchdog raised an alarm. The policy's entropy is ")


def test_what_the_learning_arm_did_not_write_is_not_watched(tmp_path) -> None:
    good = scored_posts(24, seed=5)
    unscored = tuple(f"like if you love {word}" for word in writers.WORDS)
    given = later_round(tmp_path, good)
    given = replace(given, published_texts=(*given.published_texts, *unscored), other_texts=unscored)
    assert online_watch.learning_posts(given) == [post.text for post in good if post.arm == "learning"]
    levels = {each["name"]: each["level"] for each in run_round(given, ignore).report["watchdog"]}
    assert levels["bait_share"] == "ok"
