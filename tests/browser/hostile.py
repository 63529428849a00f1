"""Text that would like to be code, in every column that anybody or anything can write text into."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.db import models

from accounts.models import AuditEntry, Membership, Organization, User, Webhook, WebhookDelivery
from accounts.tenancy import tenant
from bots.models import Incoming, Post
from faces.models import Connection
from tests.everything import Everything, make_webhook
from tests.factories import make_bot, make_connection, make_dataset, make_post, make_user, make_verdict
from training.imports.filters import FILTERS
from training.models import Dataset, Example, Generation, SampleSet

PAYLOADS = [
    re.sub(r"\{U\+([0-9A-F]+)\}", lambda found: chr(int(found[1], 16)), line)
    for line in (Path(__file__).parent / "xss_payloads.txt").read_text().splitlines()
]
"""Each calls `xss()` or `alert()`, or asks `evil.invalid`, if it is taken for code. `{U+0001}` is that character."""
POLYGLOT = next(line for line in PAYLOADS if line.startswith("'\"></title>"))
"""Breaks out of attributes, titles, text areas, scripts and styles alike."""
EVERYTHING = "\n".join(PAYLOADS)

MACHINE = {
    *("password", "slug", "plan", "kind", "base", "base_model", "sha256", "payload_sha256", "approved_sha256"),
    *("request_sha256", "checksum", "folder", "file", "prefix", "key", "platform_key", "zone", "cron", "credentials"),
    *("secrets", "score_formula", "formula", "media_type", "operation", "quota", "event", "caller", "body", "owner"),
    *("source_id", "remote_id"),
}
"""Columns whose text is the machine's own, differs from row to row, or is checked in full before it is kept."""


def packed(longest: int) -> list[str]:
    """The payloads, as many to a string as fit; one that is longer than a string may be is in none."""
    strings, line = [], ""
    for payload in PAYLOADS:
        if len(payload) > longest:
            continue
        if len(line) + len(payload) + 1 > longest:
            strings.append(line)
            line = ""
        line = f"{line} {payload}".strip(" ")
    return [*strings, line]


def poison(organization: Organization) -> None:
    """Write payloads into every text column of every row of the organization, and into its name."""
    Organization.objects.filter(pk=organization.pk).update(name=POLYGLOT[:120])
    numbers = itertools.count()
    for model in apps.get_models():
        if model.__module__.split(".")[0] not in ("accounts", "bots", "faces", "training") or model is AuditEntry:
            continue
        if not any(field.name == "organization" for field in model._meta.concrete_fields):
            continue
        for row in model._default_manager.all():
            fields = dict(_columns(model, next(numbers)))
            if fields:
                model._default_manager.filter(pk=row.pk).update(**fields)


def _columns(model: type[models.Model], number: int) -> Iterator[tuple[str, str]]:
    for field in model._meta.concrete_fields:
        if not isinstance(field, (models.CharField, models.TextField)) or field.choices or field.name in MACHINE:
            continue
        if field.name == "url" or field.name.endswith("_url"):
            yield field.name, "javascript:xss()//" + POLYGLOT
        elif field.max_length is None:
            yield field.name, EVERYTHING
        else:
            yield field.name, f"{number} {POLYGLOT}"[: field.max_length]


def fill(made: Everything, owner: User, organization: Organization) -> None:
    """Lists that hold all payloads, each where people see it."""
    with tenant(organization.pk):
        poison(organization)
        _bots_and_posts(made)
        _training(made)
        _settings(owner)
    others = [Organization(name=name, slug=f"other-{number}") for number, name in enumerate(packed(120))]
    Organization.objects.bulk_create(others)
    for other in others:
        with tenant(other.pk):
            Membership.objects.create(user=owner, role="viewer")
    User.objects.filter(pk=owner.pk).update(name=POLYGLOT[:120])


def _bots_and_posts(made: Everything) -> None:
    for name in packed(120):
        make_bot(made.connection, name=name)
        make_connection(name=name)
    Connection.objects.exclude(pk=made.connection.pk).update(problem=POLYGLOT, state="broken")
    type(made.bot).objects.filter(pk=made.bot.pk).update(blocklist=PAYLOADS, paused_at=made.incoming.at)
    for text in _chunks(12):
        post = make_post(made.bot, text=text)
        make_verdict(post, value="block", reason=text[:300])
        make_post(made.bot, "scheduled", text=text)
        Incoming.objects.create(
            bot=made.bot, remote_id=text[:300], author=text[:300], text=text, reason=text[:300], at=made.incoming.at,
            seen_at=made.incoming.at, community=text[:200], parents=[[text, text]], state="failed",
            url="javascript:xss()",
        )  # fmt: skip
    Incoming.objects.filter(pk=made.incoming.pk).update(parents=[[line, line] for line in PAYLOADS])
    Post.objects.filter(pk=made.post.pk).update(provenance={"prompt": EVERYTHING, POLYGLOT: POLYGLOT})


def _training(made: Everything) -> None:
    Example.objects.filter(dataset=made.dataset).update(position=models.F("position") + 1000)
    Example.objects.bulk_create(
        Example(
            dataset=made.dataset, position=number, text=text, author=text[:200], community=text[:200], topic=text[:200],
            context=text, quarantined=text[:300], source=text[:300], licence=text[:300], may_learn=True,
        )
        for number, text in enumerate(_chunks(6))
    )  # fmt: skip
    for name in packed(120):
        make_dataset(made.bot, name=name, source=POLYGLOT, licence=POLYGLOT, filename=name)
    lines = [{"row": 1, "reason": line, "text": line} for line in PAYLOADS]
    preview = {
        "kept": 3, "dropped": dict.fromkeys(PAYLOADS[:50], 1), "problem_count": 9, "looked_at": 9, "complete": True,
        "problems": lines, "columns_found": PAYLOADS,
        "filters": [{"name": name, "label": POLYGLOT, "dropped": 1, "examples": lines} for name in FILTERS],
        "sample": [{"text": line, "author": line, "community": line} for line in PAYLOADS],
    }  # fmt: skip
    Dataset.objects.filter(pk=made.dataset.pk).update(state="uploaded", preview=preview, columns={"text": POLYGLOT})
    SampleSet.objects.filter(run=made.run).update(texts=PAYLOADS)
    type(made.run).objects.filter(pk=made.run.pk).update(state="failed")
    type(made.version).objects.filter(pk=made.version.pk).update(tags=PAYLOADS)
    scores = [{"nearest_text": line, "shared_run": 1, "notes": [line]} for line in PAYLOADS]
    samples = [
        {"text": line, "logprob": -1.0, "ended": True, "tokens": 1, "pieces": [[line, -0.5]], "scores": known}
        for line, known in zip(PAYLOADS, scores, strict=True)
    ]
    params = {"scores": True, "seed": 1}
    Generation.objects.filter(pk=made.generation.pk).update(
        state="done", samples=samples, params=params, prompt=PAYLOADS[0][:1000]
    )


def _settings(owner: User) -> None:
    first = Webhook.objects.earliest("created_at")
    for line in packed(200):
        make_webhook(description=line, url=f"https://hooks.example/{line}"[:500], disabled_reason=line)
    log = [{"at": "2026-01-01", "status": None, "error": line, "answer": line, "milliseconds": 1} for line in PAYLOADS]
    WebhookDelivery.objects.filter(webhook=first).update(log=log, payload={line: line for line in PAYLOADS})
    for number, line in enumerate(packed(120)):
        Membership.objects.create(user=make_user(f"m{number}@kilroy.example", name=line), role="viewer")
    for text in _chunks(12):
        changes = dict.fromkeys(text.split("\n"), text)
        AuditEntry.objects.create(
            actor=text[:200], action=text[:60], object_type=text[:40], object_id=text[:40], before=changes,
            after={name: {"deep": [value, 1]} for name, value in changes.items()}, user=owner,
        )  # fmt: skip


def _chunks(size: int) -> list[str]:
    return ["\n".join(PAYLOADS[at : at + size]) for at in range(0, len(PAYLOADS), size)]
