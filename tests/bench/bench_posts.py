"""Published posts until a window of 64 averages +1.0 sd of true quality: the default loop against four peers.

Five seeds each, before two simulated audiences of which one was never used for tuning. A run that does not get there
counts as more than the posts it published. Finished runs are kept in `KILROY_BENCH_TRACES` (default: beside the
simulation's cache), so that a broken-off campaign goes on, and parts can be run alone:

    KILROY_BENCH_METHODS=ppo,reinforce KILROY_BENCH_AUDIENCES=heldout KILROY_BENCH_SEEDS=1,2 make bench ONLY=posts

KILROY_BENCH_POSTS says after how many posts the default loop is given up.

Learning rates of PPO and REINFORCE were chosen among 1e-4 and 3e-4 before the sandbox's audience with seed 101, which
is not among the five. All peers publish under the same guards as the default loop, which only helps them.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench import simulation
from tests.bench.audiences import HeldOutAudience
from tests.bench.measurement import Measurement
from tests.bench.simulation import SandboxAudience, SimulatedAudience, Trace, unwatched
from training.engine.online import run_round
from training.engine.round_types import OnlineConfig

GOAL = 64
TIMES_FEWER = {"reinforce": 12.0, "ppo": 3.0, "bespo": 1.0}
VARIETY, MEMORISED = 0.8, 0.01
SEEDS = (1, 2, 3, 4, 5)
AUDIENCES: dict[str, type[SimulatedAudience]] = {"sandbox": SandboxAudience, "heldout": HeldOutAudience}


@dataclass(frozen=True)
class Method:
    """A way to learn, and the posts after which it is given up."""

    config: OnlineConfig = field(default_factory=OnlineConfig)
    posts: int = 256


BESPO = {"bespo_learning_rate": 5e-5, "departure_weight": 0.0, "entropy_weight": 0.0}
"""With the original's regularisers its token-averaged loss cannot leave the start; without them it can."""
METHODS = {
    "default": Method(posts=int(os.environ.get("KILROY_BENCH_POSTS", "128"))),
    "best_of_16": Method(OnlineConfig(algorithm="best_of_n", candidates_per_post=16, baseline_share=0.0), 512),
    "ppo": Method(OnlineConfig(algorithm="ppo", learning_rate=3e-4, kl_target=40.0, baseline_share=0.0), 512),
    "bespo": Method(OnlineConfig(algorithm="bespo", extra=BESPO, baseline_share=0.0), 128),
    "reinforce": Method(
        OnlineConfig(algorithm="reinforce", extra={"reinforce_learning_rate": 3e-4}, baseline_share=0.0), 1024
    ),
}


def run() -> Measurement:
    """The worst mean over the seeds of the two audiences, of the default loop; every run goes to the standard error."""
    traces = {
        (method, audience): [_trace(method, audience, seed) for seed in _seeds()]
        for method in _chosen("METHODS", METHODS)
        for audience in _chosen("AUDIENCES", AUDIENCES)
    }
    for (method, audience), found in traces.items():
        for trace in found:
            print(row(method, audience, trace), file=sys.stderr)
    print(json.dumps({f"{m} {a}": [summary(m, t) for t in found] for (m, a), found in traces.items()}))
    means = {key: statistics.fmean(cost(key[0], trace) for trace in found) for key, found in traces.items()}
    ours = {audience: mean for (method, audience), mean in means.items() if method == "default"}
    worst = max(ours.values(), default=float("inf"))
    return Measurement(ours=worst, goal=GOAL, better="lower", broken=tuple(_broken(traces, means)))


def cost(method: str, trace: Trace) -> int:
    """Posts until +1.0; one more than were published where that never came (a lower bound)."""
    reached = trace.posts_until()
    return METHODS[method].posts + 1 if reached is None else reached


def summary(method: str, trace: Trace) -> dict[str, float | int | None]:
    """The figures of one run. `at_…` are mean true qualities of the 64 posts before."""
    values = [post.quality for post in trace.learning]
    windows = {f"at_{n}": statistics.fmean(values[n - 64 : n]) for n in (64, 128, 256, 512, 768) if n <= len(values)}
    return {
        "seed": trace.seed,
        "posts": trace.posts_until(),
        "posts_by_32": trace.posts_until(window=32),
        "published": len(trace.posts),
        "first_64": trace.first(64),
        **windows,
        **trace.variety(),
        "distinct_ratio_last_64": trace.variety(64)["distinct_ratio"],
        "kl": trace.metrics[-1].get("kl") if trace.metrics else None,
        "seconds": trace.seconds,
    }


def row(method: str, audience: str, trace: Trace) -> str:
    """One run for people."""
    found = summary(method, trace)
    posts = found["posts"] or f"> {METHODS[method].posts}"
    if len(trace.posts) < METHODS[method].posts:
        posts = f"never (it wrote nothing that could be published after {len(trace.posts)} posts)"
    shown = " ".join(f"{name} {value:.2f}" for name, value in found.items() if isinstance(value, float))
    return f"{method:11} {audience:8} seed {trace.seed}: {posts} posts; {shown}"


def _broken(traces: dict[tuple[str, str], list[Trace]], means: dict[tuple[str, str], float]) -> list[str]:
    """Which limits of the headline were not kept. Where a peer never got there, its posts are a lower bound."""
    broken = []
    for (method, audience), mean in means.items():
        if method in TIMES_FEWER and ("default", audience) in means:
            ratio = mean / means["default", audience]
            enough = ratio > 1.0 if method == "bespo" else ratio >= TIMES_FEWER[method]
            broken += [] if enough else [f"{audience}: {ratio:.1f} times fewer posts than {method}"]
    for audience in AUDIENCES:
        for trace in traces.get(("default", audience), []):
            found = trace.variety()
            where = f"{audience}, seed {trace.seed}"
            broken += [f"{where}: collapsed after {len(trace.posts)} posts"] * (len(trace.posts) < GOAL)
            broken += [f"{where}: distinct-2 {found['distinct_ratio']:.2f}"] * (found["distinct_ratio"] < VARIETY)
            broken += [f"{where}: near-duplicates {found['duplicates']:.3f}"] * (found["duplicates"] > 0)
            broken += [f"{where}: memorised {found['memorised']:.3f}"] * (found["memorised"] > MEMORISED)
    return broken


def _trace(method: str, audience: str, seed: int) -> Trace:
    chosen, usual = METHODS[method], asdict(OnlineConfig())
    unusual = {name: value for name, value in asdict(chosen.config).items() if value != usual[name]}
    described = repr((unusual, chosen.posts, simulation.finetuned().name))
    mark = hashlib.sha256(described.encode()).hexdigest()[:8]
    path = traces_folder() / f"{method}-{audience}-{seed}-{mark}.json"
    if not path.exists():
        print(f"{path.name} …", file=sys.stderr, flush=True)
        play = run_round if method == "default" else unwatched
        trace = simulation.simulate(chosen.config, AUDIENCES[audience](), seed, chosen.posts, method=method, play=play)
        trace.write(path)
    return Trace.read(path)


def traces_folder() -> Path:
    """Where finished runs are kept. A run of the default loop is only as new as the code that made it: delete those
    after a change of the engine.
    """
    return Path(os.environ.get("KILROY_BENCH_TRACES") or simulation.cache_folder() / "traces")


def _chosen(
    variable: str, known: dict[str, object] | dict[str, Method] | dict[str, type[SimulatedAudience]]
) -> list[str]:
    wanted = os.environ.get(f"KILROY_BENCH_{variable}")
    return [name for name in known if not wanted or name in wanted.split(",")]


def _seeds() -> Sequence[int]:
    wanted = os.environ.get("KILROY_BENCH_SEEDS")
    return [int(seed) for seed in wanted.split(",")] if wanted else SEEDS
