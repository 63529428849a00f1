"""Pages of the pipeline that needs no person: harvests, training again by itself, and posts written ahead."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.models import Bot
from bots.views import add_errors, bot_context, bot_or_404
from faces.models import Connection
from training.engine.types import LEAST_TEMPERATURE
from training.models import Generation, Harvest, Retraining, Run
from training.services import generations, harvests, retraining, versions
from training.settings_forms import KINDS, SettingsForm
from training.settings_schema import described
from training.views import of_bot


class HarvestForm(forms.Form):
    connection = forms.ModelChoiceField(queryset=Connection.objects.none(), empty_label=None, label="Through")
    account = forms.CharField(
        required=False,
        max_length=300,
        help_text="Whose posts, as the platform writes the name; empty: the connection's own account.",
    )
    every_minutes = forms.IntegerField(
        initial=1440,
        min_value=harvests.LEAST_MINUTES,
        max_value=harvests.MOST_MINUTES,
        label="Every … minutes",
        help_text="1440 is once a day.",
    )

    def __init__(self, bot: Bot, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["connection"].queryset = Connection.objects.all()  # type: ignore[attr-defined]
        self.fields["connection"].initial = bot.connection_id


class RetrainingForm(forms.Form):
    active = forms.BooleanField(required=False, label="Train again by itself")
    every_hours = forms.IntegerField(min_value=1, max_value=retraining.MOST_HOURS, label="At most every … hours")
    least_new_examples = forms.IntegerField(
        min_value=0, label="New posts", help_text="Wait until the bot's datasets have grown by this many."
    )
    most_loss_increase = forms.FloatField(
        min_value=0,
        max_value=1,
        label="Gate: how much worse",
        help_text="The held-out loss may be higher than the speaking version's by this share; 0.02 is 2 %.",
    )
    tag = forms.CharField(max_length=60, help_text="Tag of the new version; %Y, %m, %d and %H stand for the time.")
    make_current = forms.BooleanField(required=False, label="Put a version that passes the gate to use")


class AheadForm(forms.Form):
    count = forms.IntegerField(min_value=1, max_value=generations.MOST_AHEAD, initial=50, label="How many posts")
    temperature = forms.FloatField(
        required=False,
        min_value=LEAST_TEMPERATURE,
        max_value=5,
        help_text="1 draws as the model believes; less is safer.",
    )


@organization_page("dataset_view")
def harvest_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    return _harvests(request, bot, HarvestForm(bot))


def _harvests(request: OrganizationRequest, bot: Bot, form: HarvestForm) -> HttpResponse:
    rows = Harvest.objects.filter(bot=bot).select_related("connection", "dataset")
    context = bot_context(bot, "datasets") | {"harvests": rows, "form": form}
    return render(request, "training/harvest_list.html", context, status=400 if form.errors else 200)


@require_POST
@organization_page("dataset_edit")
def harvest_create(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    form = HarvestForm(bot, request.POST)
    if form.is_valid():
        data = form.cleaned_data
        try:
            harvests.create_harvest(bot, data["connection"], data["account"], every_minutes=data["every_minutes"])
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, "The posts are being read; they appear in a dataset of their own.")
            return redirect("training:harvests", request.organization.slug, bot.pk)
    return _harvests(request, bot, form)


def _act(
    request: OrganizationRequest, bot_id: UUID, harvest_id: UUID, verb: Any, words: str, **how: Any
) -> HttpResponse:
    bot = bot_or_404(bot_id)
    harvest = of_bot(Harvest, bot, harvest_id)
    try:
        verb(harvest.pk, **how)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, words)
    return redirect("training:harvests", request.organization.slug, bot.pk)


@require_POST
@organization_page("dataset_edit")
def harvest_now(request: OrganizationRequest, bot_id: UUID, harvest_id: UUID) -> HttpResponse:
    return _act(request, bot_id, harvest_id, harvests.harvest_now, "The account is being read.")


@require_POST
@organization_page("dataset_edit")
def harvest_switch(request: OrganizationRequest, bot_id: UUID, harvest_id: UUID) -> HttpResponse:
    """Switch a harvest on or off (`active` is 1 or 0)."""
    active = request.POST.get("active") == "1"
    words = "The account is read again from now on." if active else "The account is no longer read."
    return _act(request, bot_id, harvest_id, harvests.change_harvest, words, active=active)


@require_POST
@organization_page("dataset_edit")
def harvest_remove(request: OrganizationRequest, bot_id: UUID, harvest_id: UUID) -> HttpResponse:
    words = "The account is no longer read; what was read stays as a dataset."
    return _act(request, bot_id, harvest_id, harvests.remove_harvest, words)


@organization_page("run_view")
def retraining_page(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    row = Retraining.objects.filter(bot=bot).select_related("last_run").first() or Retraining(bot=bot)
    form = RetrainingForm(initial={name: getattr(row, name) for name in RetrainingForm.base_fields})
    return _retraining(request, bot, row, form, _settings(row))


def _settings(row: Retraining, data: Any = None) -> SettingsForm:
    initial = {name: str(value).lower() if isinstance(value, bool) else value for name, value in row.config.items()}
    return SettingsForm(described(KINDS[Run.Kind.OFFLINE]), data, initial=initial, prefix="again")


def _retraining(
    request: OrganizationRequest, bot: Bot, row: Retraining, form: RetrainingForm, settings: SettingsForm
) -> HttpResponse:
    count = retraining.learnable_count(bot)
    context = bot_context(bot, "runs") | {
        "retraining": row,
        "form": form,
        "settings": settings,
        "posts": count,
        "new_posts": max(count - row.learned_examples, 0),
    }
    wrong = form.errors or settings.errors
    return render(request, "training/pipeline_retraining.html", context, status=400 if wrong else 200)


@require_POST
@organization_page("run_control")
def retraining_set(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    row = Retraining.objects.filter(bot=bot).select_related("last_run").first() or Retraining(bot=bot)
    form, settings = RetrainingForm(request.POST), _settings(row, request.POST)
    if form.is_valid() and settings.is_valid():
        try:
            retraining.set_retraining(bot, **form.cleaned_data, config=settings.changes())
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, "Saved.")
            return redirect("training:retraining", request.organization.slug, bot.pk)
    return _retraining(request, bot, row, form, settings)


@organization_page("generate")
def write_ahead(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """Ask the bot for posts ahead of their time; the queue shows this page's middle."""
    bot = bot_or_404(bot_id)
    form = AheadForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        params = {name: value for name, value in form.cleaned_data.items() if name != "count" and value is not None}
        try:
            generations.write_ahead(bot, form.cleaned_data["count"], params)
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, "The posts are being written; they appear in the queue as they come.")
            return redirect("bots:queue", request.organization.slug, bot.pk)
    last = Generation.objects.filter(bot=bot, into_queue=True).exclude(state=Generation.State.QUEUED).first()
    context = bot_context(bot, "queue") | {
        "form": form,
        "pending": generations.pending_ahead(bot),
        "trouble": last.error if last else "",
        "version": versions.current_version(bot),
    }
    return render(request, "training/pipeline_write_ahead.html", context, status=400 if form.errors else 200)
