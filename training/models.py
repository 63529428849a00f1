"""How a bot learns: datasets, runs, rounds, metrics and model versions. Fields and constraints only; rules live in
services.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from accounts.tenancy import TenantModel
from bots.models import Bot


class Dataset(TenantModel):
    """Past posts to learn from, as a person uploaded them, with where they come from and whether a bot may learn from
    them.
    """

    class State(models.TextChoices):
        UPLOADED = "uploaded", "Waiting for your decision"
        IMPORTING = "importing", "Being imported"
        READY = "ready", "Ready"
        REFUSED = "refused", "Refused"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="datasets")
    name = models.CharField(max_length=120)
    source = models.CharField(max_length=300, help_text="Where the posts come from.")
    licence = models.CharField(max_length=300, help_text="Under which licence or permission they may be used.")
    may_learn = models.BooleanField(default=False, help_text="I may use these posts to train a model.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.UPLOADED)
    file = models.FileField(upload_to="datasets/%Y/%m/", max_length=300, blank=True)
    filename = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes of the uploaded file.")
    format = models.CharField(max_length=20, blank=True)
    columns = models.JSONField(default=dict, blank=True)
    preview = models.JSONField(default=dict, blank=True)
    only_good = models.BooleanField(default=False, help_text="Import the good rows and leave the broken ones out.")
    error = models.CharField(max_length=500, blank=True)
    example_count = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="dataset_of_organization"),
            models.CheckConstraint(
                condition=Q(state__in=["uploaded", "importing", "ready", "refused"]), name="dataset_state"
            ),
        ]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class Example(TenantModel):
    """One past post. `score` is the reaction as its source counted it; licence and `may_learn` are kept with each
    row.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="examples")
    position = models.PositiveIntegerField()
    text = models.TextField()
    score = models.FloatField(null=True)
    author = models.CharField(max_length=200, blank=True)
    community = models.CharField(max_length=200, blank=True)
    topic = models.CharField(max_length=200, blank=True)
    context = models.TextField(blank=True, help_text="What the post answers, oldest first.")
    quarantined = models.CharField(
        max_length=300, blank=True, help_text="Why training leaves this post out: it broke a training twice."
    )
    posted_at = models.DateTimeField(null=True)
    source = models.CharField(max_length=300)
    licence = models.CharField(max_length=300)
    may_learn = models.BooleanField()
    source_id = models.CharField(max_length=300, blank=True, help_text="Its platform's id, where it was harvested.")

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["dataset", "position"], name="example_position_once"),
            models.UniqueConstraint(
                fields=["dataset", "source_id"], condition=~Q(source_id=""), name="example_source_once"
            ),
        ]
        ordering = ["position"]

    def __str__(self) -> str:
        return self.text[:60]


class ModelVersion(TenantModel):
    """A model that a bot can speak with. Its folder in the artifact storage never changes; `checksum` is the weights'
    SHA-256.
    """

    class Kind(models.TextChoices):
        OFFLINE = "offline", "Fine-tuned"
        ONLINE = "online", "Learned from reactions"
        UPLOADED = "uploaded", "Uploaded"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="model_versions")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=Kind.choices)
    parent = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="children")
    run = models.ForeignKey("training.Run", null=True, on_delete=models.SET_NULL, related_name="versions")
    base = models.CharField(max_length=200, help_text="The model that the lineage began with.")
    folder = models.CharField(max_length=300)
    checksum = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    tags = models.JSONField(default=list, blank=True)
    metrics = models.JSONField(default=dict, blank=True)
    report = models.JSONField(
        default=dict, blank=True, help_text="What has more than a number: calibration, critics, memorised samples."
    )
    is_current = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="version_of_organization"),
            models.UniqueConstraint(fields=["bot", "number"], name="version_number_once"),
            models.UniqueConstraint(fields=["bot"], condition=Q(is_current=True), name="version_current_once"),
        ]
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"v{self.number}"


class Run(TenantModel):
    """A stretch of training. `wish` is what people want of it, `state` what it is; the worker brings the second to
    the first. An offline run has at least one source: the service that starts it sees to that.
    """

    class Kind(models.TextChoices):
        OFFLINE = "offline", "Fine-tuning"
        ONLINE = "online", "Online learning"

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting for a worker"
        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        FINISHED = "finished", "Finished"
        STOPPED = "stopped", "Stopped"
        FAILED = "failed", "Failed"

    class Wish(models.TextChoices):
        RUN = "run", "Run"
        PAUSE = "pause", "Pause"
        STOP = "stop", "Stop"

    LIVING = (State.QUEUED, State.RUNNING, State.PAUSED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="runs")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    wish = models.CharField(max_length=5, choices=Wish.choices, default=Wish.RUN)
    config = models.JSONField(default=dict)
    start_version = models.ForeignKey(ModelVersion, null=True, on_delete=models.PROTECT, related_name="+")
    then_online = models.JSONField(
        null=True, help_text="Configuration of the online run to start when this one has finished."
    )
    pinned = models.BooleanField(
        default=False, db_default=False, help_text="Shown beside other runs: the one that they are held against."
    )
    error = models.TextField(blank=True)
    progress = models.JSONField(default=dict)
    owner = models.CharField(max_length=120, blank=True)
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="run_of_organization"),
            models.UniqueConstraint(
                fields=["bot"], condition=Q(state__in=["queued", "running", "paused"]), name="run_living_once_per_bot"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running", "paused", "finished", "stopped", "failed"]),
                name="run_state",
            ),
            models.CheckConstraint(
                condition=Q(kind="offline") | Q(start_version__isnull=False), name="run_online_has_start"
            ),
        ]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.bot}"


class RunDataset(TenantModel):
    """A dataset that a run learns from. `weight` 2 shows each of its posts twice as often as weight 1."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="sources")
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="uses")
    weight = models.FloatField(default=1.0)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["run", "dataset"], name="run_dataset_once"),
            models.CheckConstraint(condition=Q(weight__gt=0) & Q(weight__lte=1000), name="run_dataset_weight"),
        ]
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.dataset} × {self.weight:g}"


class Round(TenantModel):
    """One round of online learning: what was decided, measured and proposed, and the state the next one continues
    from.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    config = models.JSONField(default=dict)
    decisions = models.JSONField(default=list)
    metrics = models.JSONField(default=dict)
    report = models.JSONField(
        default=dict, help_text="What has more than a number: calibration, the watchdog's readings."
    )
    engine_state = models.JSONField(default=dict)
    scored_posts = models.PositiveIntegerField(default=0, help_text="Posts with a reward when the round began.")
    version = models.ForeignKey(ModelVersion, null=True, on_delete=models.SET_NULL, related_name="rounds")
    seconds = models.FloatField(default=0)
    finished_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="round_once")]
        ordering = ["number"]


class Canary(TenantModel):
    """A model version on trial: it writes a share of the bot's posts until their reactions say whether it may take
    over.
    """

    class State(models.TextChoices):
        RUNNING = "running", "On trial"
        PROMOTED = "promoted", "Promoted"
        ROLLED_BACK = "rolled_back", "Rolled back"
        ENDED = "ended", "Ended by a person"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="canaries")
    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="canaries")
    against = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    share = models.FloatField(help_text="Share of the learning posts that the version on trial writes.")
    state = models.CharField(max_length=12, choices=State.choices, default=State.RUNNING)
    reason = models.CharField(max_length=500, blank=True)
    report = models.JSONField(default=dict, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        verbose_name_plural = "canaries"
        constraints = [
            models.UniqueConstraint(fields=["bot"], condition=Q(state="running"), name="canary_running_once_per_bot"),
            models.CheckConstraint(condition=Q(share__gt=0) & Q(share__lt=1), name="canary_share"),
            models.CheckConstraint(
                condition=Q(state__in=["running", "promoted", "rolled_back", "ended"]), name="canary_state"
            ),
        ]
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return f"{self.version} against {self.against}"


class Metric(TenantModel):
    """One measured number of a run at one step."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metrics")
    name = models.CharField(max_length=40)
    step = models.PositiveIntegerField()
    value = models.FloatField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["run", "name", "step"], name="metric_once")]
        ordering = ["step"]


class SampleSet(TenantModel):
    """Texts that a model drew at one step of a run, unedited."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="sample_sets")
    step = models.PositiveIntegerField()
    texts = models.JSONField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["run", "step"], name="sample_set_once")]
        ordering = ["-step"]


class Generation(TenantModel):
    """A request for texts, answered by a training worker: the row is the request and holds the answer."""

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting for a worker"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="generations")
    version = models.ForeignKey(ModelVersion, null=True, on_delete=models.CASCADE, related_name="+")
    prompt = models.CharField(max_length=1000, blank=True)
    count = models.PositiveSmallIntegerField(default=1)
    params = models.JSONField(default=dict)
    group = models.UUIDField(
        null=True, editable=False, help_text="Of requests that belong together: one prompt, several versions."
    )
    into_queue = models.BooleanField(default=False, help_text="Propose every text as a post of the bot.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    samples = models.JSONField(default=list)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(state__in=["queued", "done", "failed"]), name="generation_state")
        ]
        indexes = [models.Index(fields=["group"], condition=Q(group__isnull=False), name="generation_group")]
        ordering = ["-created_at"]


from training.pipeline_models import Harvest, Retraining  # noqa: E402 - after Dataset and Run, which they point to
from training.share_models import ShareLink  # noqa: E402
from training.telemetry_models import MetricBucket, RunEvent  # noqa: E402

__all__ = [
    "Canary",
    "Dataset",
    "Example",
    "Generation",
    "Harvest",
    "Metric",
    "MetricBucket",
    "ModelVersion",
    "Retraining",
    "Round",
    "Run",
    "RunDataset",
    "RunEvent",
    "SampleSet",
    "ShareLink",
]
