"""The demo: an organization with one bot, its sandbox, its dataset, and the run that teaches it, all made by the
ordinary services. And the same bot for whoever asks for one in an organization of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction

from accounts.models import Membership, Organization, User
from accounts.services import DEMO_EMAIL, create_organization
from accounts.tenancy import active, tenant
from bots.models import Bot, Schedule
from bots.services.bots import create_bot, set_schedule
from faces.models import Connection
from faces.services import create_connection
from training.models import Run
from training.services import datasets, runs

POSTS = Path(__file__).resolve().parents[1] / "demo" / "posts.csv"
ORGANIZATION = "Demo"
NAME = "Headline writer"
SOURCE = "Reddit Top 2.5 Million (github.com/umbrae/reddit-top-2.5-million), collected in August 2013"
LICENCE = "Public Domain Dedication and License (PDDL) 1.0"

CLOCK_SPEED = 7200.0
"""The demo's simulated platform lives two hours in each real second, so that a day of reactions takes twelve."""
FINETUNE: dict[str, Any] = {"max_epochs": 2.0}
ONLINE: dict[str, Any] = {"baseline_share": 0.25, "queue_ahead": 24, "min_new_scores": 12, "stop_after_posts": 512}


def ensure_demo() -> User:
    """Make the demo if it is not there yet. Returns its person."""
    user = User.objects.filter(email=DEMO_EMAIL).first()
    if user is None:
        with transaction.atomic():
            user = User.objects.create_user(DEMO_EMAIL, name="Demo")
            organization = create_organization(ORGANIZATION, user)
            with tenant(organization.pk):
                create_demo_bot(NAME, clock_speed=CLOCK_SPEED, interval_seconds=1)
    # A kill between the rows and the import leaves an organization without a run: the same steps finish it.
    # everyone: the demo's one membership says which organization is the demo's.
    membership = Membership.everyone.get(user=user)
    with tenant(membership.organization_id):
        bot = Bot.objects.order_by("created_at").first()
        if bot is not None and not Run.objects.filter(bot=bot).exists():
            start_learning(bot, FINETUNE, ONLINE)
    return user


@transaction.atomic
def make_sandbox_bot() -> Bot:
    """The demo's bot for the active organization, already learning: all of it or nothing, and whoever asks again gets
    the one that is there. Raises QuotaExceeded.
    """
    # One at a time: two clicks would both find none.
    Organization.objects.select_for_update(no_key=True).get(pk=active())
    there: Bot | None = Bot.objects.filter(datasets__source=SOURCE).order_by("created_at").first()
    if there is not None:
        return there
    bot = create_demo_bot(_free_name(), clock_speed=CLOCK_SPEED, interval_seconds=1)
    start_learning(bot, FINETUNE, ONLINE)
    return bot


def _free_name() -> str:
    """A name that neither a bot has nor, of one that was deleted, its sandbox."""
    name, number = NAME, 2
    while Bot.objects.filter(name=name).exists() or Connection.objects.filter(name=_sandbox(name)).exists():
        name, number = f"{NAME} {number}", number + 1
    return name


def _sandbox(name: str) -> str:
    return f"{name}’s sandbox"


def create_demo_bot(name: str, *, clock_speed: float, interval_seconds: int, seed: int = 1) -> Bot:
    """A bot that speaks to a sandbox audience and approves what passes every rule."""
    connection = create_connection(
        "sandbox", _sandbox(name), {"seed": seed, "followers": 2000, "clock_speed": clock_speed}
    )
    bot = create_bot(
        name,
        connection,
        description="Writes headlines for a simulated audience, and learns which ones it likes.",
        approval=Bot.Approval.AUTO,
        reading_ages=[60, 240, 720, 1440],
        reward_age=1440,
    )
    set_schedule(bot, kind=Schedule.Kind.INTERVAL, interval_seconds=interval_seconds, zone="UTC")
    return bot


def start_learning(bot: Bot, finetune: dict[str, Any], online: dict[str, Any], posts: int | None = None) -> Run:
    """Import the bundled posts, or the first `posts` of them, and start fine-tuning on them, with online learning to
    follow.
    """
    rows = POSTS.read_bytes().splitlines(keepends=True)[: None if posts is None else 1 + posts]
    file = SimpleUploadedFile(POSTS.name, b"".join(rows), content_type="text/csv")
    dataset = datasets.upload_dataset(
        bot, file, name="Top posts of sixteen communities", source=SOURCE, licence=LICENCE, may_learn=True
    )
    datasets.request_import(dataset.pk, only_good=True)
    dataset = datasets.import_dataset(dataset.pk)
    return runs.start_finetune(bot, dataset, finetune, then_online=online)
