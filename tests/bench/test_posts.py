from dataclasses import replace

import pytest

from tests.bench import bench_posts
from tests.bench.audiences import own_weight
from tests.bench.bench_posts import METHODS, cost, summary
from tests.bench.simulation import PublishedPost, Trace


def trace(qualities, arms=None):
    posts = tuple(
        PublishedPost(f"word{at} other{at} third{at}", arm, at // 16, quality, 0.0, None)
        for at, (quality, arm) in enumerate(zip(qualities, arms or ["learning"] * len(qualities), strict=True))
    )
    frozen = tuple(f"one{at} two{at} three{at} four{at}" for at in range(200))
    return Trace("default", "sandbox", 1, posts, frozen, 0.0, ({"kl": 0.5},), ((),), 1.0)


def test_posts_until_is_where_the_window_first_averages_the_level():
    # 60 posts at 0, then 2 each: 32 of the last 64 are at 2 after 92.
    assert trace([0.0] * 60 + [2.0] * 68).posts_until() == 92
    assert trace([1.0] * 64).posts_until() == 64
    assert trace([1.0] * 63).posts_until() is None
    assert trace([0.9] * 300).posts_until() is None
    assert trace([0.0] * 60 + [2.0] * 68).posts_until(window=32) == 76


def test_only_the_learning_arm_counts():
    found = trace([1.0, -9.0] * 64, ["learning", "baseline"] * 64)
    assert found.posts_until() == 64
    assert (found.first(64), found.last(32)) == (1.0, 1.0)


def test_a_run_that_never_got_there_costs_more_than_it_published():
    collapsed = bench_posts.row("bespo", "sandbox", trace([0.0] * 32))
    assert "never (it wrote nothing that could be published after 32 posts)" in collapsed
    assert cost("ppo", trace([0.0] * 512)) == METHODS["ppo"].posts + 1
    assert summary("ppo", trace([0.0] * 512))["posts"] is None
    assert bench_posts.row("ppo", "sandbox", trace([0.0] * 512)).startswith("ppo         sandbox  seed 1: > 512 posts;")


def test_a_trace_is_read_as_it_was_written(tmp_path):
    written = trace([0.5, 1.5])
    written.write(tmp_path / "new" / "trace.json")
    assert Trace.read(tmp_path / "new" / "trace.json").posts == written.posts


def test_limits_that_were_not_kept_are_named():
    good, slow = [trace([1.0] * 64)], [trace([0.0] * 640 + [2.0] * 64)]
    means = {("default", "sandbox"): 64.0, ("reinforce", "sandbox"): 700.0, ("bespo", "sandbox"): 65.0}
    traces = {("default", "sandbox"): good, ("reinforce", "sandbox"): slow, ("bespo", "sandbox"): slow}
    assert bench_posts._broken(traces, means) == ["sandbox: 10.9 times fewer posts than reinforce"]
    copied = replace(good[0], posts=tuple(replace(post, text="the same again") for post in good[0].posts))
    broken = bench_posts._broken({("default", "sandbox"): [replace(copied, memorised=0.5)]}, {})
    assert [words.split(": ")[1].split(" ")[0] for words in broken] == ["distinct-2", "near-duplicates", "memorised"]


def test_a_word_always_weighs_the_same():
    assert own_weight("moon") == own_weight("moon") != own_weight("mars")
    assert own_weight("moon") == pytest.approx(1.0, abs=1.5)
