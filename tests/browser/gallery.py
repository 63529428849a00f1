"""An organization whose every page has something to show, made without a worker: what the pictures and the checks of
all pages look at.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from accounts import clock
from accounts.models import Organization, User
from accounts.tenancy import tenant
from bots.models import Bot, Post, Report, SiteRule
from bots.services import site_rules
from bots.states import PostState
from tests.browser.gallery_texts import make_branch, make_texts
from tests.everything import Everything, make_everything
from tests.factories import (
    make_bot,
    make_connection,
    make_dataset,
    make_decision,
    make_member,
    make_observation,
    make_organization,
    make_post,
    make_reward,
    make_round,
    make_run,
    make_schedule,
    make_user,
    make_verdict,
    make_version,
)
from training.models import ModelVersion, Run, SampleSet
from training.services.telemetry import Recorder

SUBJECTS = ("The harbour", "A night train", "Your inbox", "The last bakery", "One slow river", "The city council")
DOINGS = ("forgets its keys again", "asks for a second opinion", "votes against Monday", "learns to whistle")
TAILS = ("and nobody minds.", "while the kettle boils.", "for the third time this week.", "says a quiet report.")
ONLINE = {
    "reward_mean": lambda x: -0.2 + 0.9 * x,
    "reward_low": lambda x: -0.5 + 0.9 * x,
    "reward_high": lambda x: 0.1 + 0.9 * x,
    "baseline_mean": lambda x: -0.1,
    "baseline_low": lambda x: -0.4,
    "baseline_high": lambda x: 0.2,
    "lift": lambda x: -0.1 + 0.8 * x,
    "lift_low": lambda x: -0.9 + 1.2 * x,
    "lift_high": lambda x: 0.7 + 0.5 * x,
    "kl": lambda x: 4 * x,
    "entropy": lambda x: 3.2 - 0.4 * x,
    "distinct_2": lambda x: 0.92 - 0.05 * x,
}


@dataclass
class Gallery:
    """Three organizations of one owner: `full` has one of everything, `new` only a bot as it is made, `empty` nothing.
    `blank` is `made` with the bot of `new`. The `operator` has something of everything to decide.
    """

    owner: User
    operator: User
    full: Organization
    new: Organization
    empty: Organization
    made: Everything
    blank: Everything

    def made_in(self, organization: Organization) -> Everything:
        """Whose ids the addresses of an organization's pages have."""
        return self.blank if organization == self.new else self.made


def make_gallery() -> Gallery:
    owner = make_user("alice@kilroy.example", name="Alice Arden")
    full, new, empty = (make_organization(name, owner) for name in ("Northwind Press", "Early Days", "Fresh Start"))
    for role in ("admin", "editor", "moderator"):
        make_member(full, role)
    with tenant(full.pk):
        made = make_everything()
        learning = make_learning_bot()
        made.bot, made.run, made.online_run = learning, *_runs_of(learning)
        made.version = ModelVersion.objects.get(bot=learning, is_current=True)
        made.dataset = learning.datasets.get()
        made.generation = make_texts(learning)
        make_branch(learning)
        made.posts[PostState.PENDING_REVIEW] = Post.objects.filter(bot=learning, state=PostState.PUBLISHED)[0]
        make_bot(name="Night desk", paused_at=clock.now(), pause_reason="Paused by the operator.")
    with tenant(new.pk):
        blank = replace(made, bot=make_bot(make_connection(name="A sandbox"), name="First try"))
    return Gallery(owner, make_operator(made), full, new, empty, made, blank)


def make_operator(made: Everything) -> User:
    site_rules.keep(SiteRule(name="No casinos", kind="blocklist", settings={"blocklist": ["casino"]}))
    with tenant(made.bot.organization_id):
        Report.objects.create(post=made.posts[PostState.PUBLISHED], category="threat", text="It threatens me.")
    return make_user("operator@kilroy.example", name="Olga Operator", is_staff=True, is_superuser=True)


def _runs_of(bot: Bot) -> tuple[Run, Run]:
    return Run.objects.get(bot=bot, kind="offline"), Run.objects.get(bot=bot, kind="online")


def make_learning_bot() -> Bot:
    """Two weeks of a bot that gets better: posts, reactions, versions, and what both runs measured."""
    chance = random.Random(7)
    bot = make_bot(make_connection(name="Harbour sandbox"), name="Harbour Headlines", description="Dry local news.")
    schedule = make_schedule(bot, cron="0 9,13,18 * * *", zone="Europe/Warsaw")
    dataset = make_dataset(bot, examples=240, name="Headlines 2019–2025", source="Our own archive", licence="CC BY 4.0")
    versions = _train(bot, dataset)
    now = clock.now().replace(minute=0, second=0, microsecond=0)
    for number in range(42):
        _publish(bot, versions, number, now - timedelta(hours=8 * (42 - number)), chance)
    for number in range(5):
        slot = now + timedelta(hours=8 * number + 3)
        make_post(bot, PostState.SCHEDULED, _text(chance), arm="learning", slot_utc=slot, schedule=schedule)
    for number in range(7):
        post = make_post(
            bot,
            text=_text(chance),
            arm="learning",
            model_version_id=versions[-1].pk,
            provenance={"predicted": chance.gauss(0.3, 0.4), "predicted_sd": 0.5, "prompt": ""},
        )
        if number % 3 == 0:
            make_verdict(post, "links", "flag", reason="It links to a site that this bot never linked to.")
    make_decision(make_post(bot, PostState.DECLINED, _text(chance), decline_reason="Too flat."), "declined")
    return bot


def _text(chance: random.Random) -> str:
    return " ".join(chance.choice(words) for words in (SUBJECTS, DOINGS, TAILS))


def _train(bot: Bot, dataset: object) -> list[ModelVersion]:
    chance = random.Random(3)
    offline = make_run(bot, dataset=dataset, state="finished", progress={"best_heldout_loss": 3.21, "step": 400})
    with Recorder(offline) as recorder:
        for step in range(0, 400, 2):
            recorder.on_step(step, {"loss": 3 + 2 * math.exp(-step / 90) + chance.gauss(0, 0.08)})
        for step in range(0, 400, 40):
            recorder.on_step(step, {"heldout_loss": 3.2 + 1.7 * math.exp(-step / 100)})
    for step in (100, 200, 400):
        SampleSet.objects.create(run=offline, step=step, texts=[_text(chance) for _ in range(4)])
    versions = [make_version(bot, run=offline, metrics={"heldout_loss": 3.21}, tags=["first"], is_current=False)]
    online = make_run(bot, "online", start_version=versions[0], state="running")
    with Recorder(online) as recorder:
        for number in range(1, 13):
            shape = {name: curve(number / 12) + chance.gauss(0, 0.03) for name, curve in ONLINE.items()}
            recorder.on_step(number, shape)
            counts = {"learning_posts": 3 * number, "baseline_posts": number}
            round_ = make_round(online, number, metrics=shape | counts, scored_posts=4 * number, seconds=3.0)
            if number % 3 == 0:
                version = make_version(
                    bot, run=online, parent=versions[-1], kind="online", metrics=shape, is_current=False
                )
                round_.version = version
                round_.save()
                versions.append(version)
    ModelVersion.objects.filter(pk=versions[-1].pk).update(is_current=True)
    return versions


def _publish(bot: Bot, versions: list[ModelVersion], number: int, at: datetime, chance: random.Random) -> None:
    arm = "baseline" if number % 4 == 0 else "learning"
    version = versions[0] if arm == "baseline" else versions[number * len(versions) // 42]
    text = _text(chance)
    post = make_post(
        bot,
        PostState.PUBLISHED,
        text,
        arm=arm,
        published_at=at,
        slot_utc=at,
        model_version_id=version.pk,
        remote_url=f"https://social.example/@harbour/{number}",
        provenance={
            "predicted": chance.gauss(0, 0.5),
            "predicted_sd": 0.4,
            "prompt": "",
            "beaten": [[_text(chance), -0.3], [_text(chance), -0.7]],
            "nearest_text": text[:24] + "something else entirely.",
            "shared_run": 24,
        },
    )
    likes = max(0, round(chance.gauss(8 + number / 4 * (arm == "learning"), 3)))
    reading = make_observation(
        post,
        number=4,
        age_seconds=86_400,
        metrics={"likes": likes, "comments": likes // 4, "shares": likes // 6},
        followers=400,
        simulated=True,
    )
    make_reward(post, reading, value=(likes - 10) / 6)
