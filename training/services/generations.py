"""Requests for texts: a row per request, answered by a training worker."""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction

from accounts import audit, clock, quotas
from accounts.doorbell import ring
from accounts.tenancy import tenant
from bots import live
from bots.models import Bot
from bots.services.posts import Draft
from training import artifacts, configs, streaming
from training.artifacts import ArtifactError
from training.engine.types import LengthLimit, Sample, SamplingParams, TextRequest
from training.models import Generation, ModelVersion
from training.services import ahead, deaths, judging, versions
from training.services.engine import Engine, EngineError, Sampler

log = logging.getLogger(__name__)

MOST_AT_ONCE = 64
MOST_PROMPTS = 64
MOST_TEXTS = 1024
"""Texts that one call may ask for, over all its prompts."""
MOST_AHEAD = 1000
"""Posts that can be asked for ahead of their time in one go."""
AHEAD_BATCH = 32
"""Posts that one request into the queue asks for: what a kill may cost, and how long others wait for the worker."""
OPEN_SECONDS = 10.0
"""How long a batch takes new requests on."""

LOOK_SECONDS = 0.2
"""Between two looks for new requests, and between two messages to watchers."""

SCORES = "scores"
"""Beside the settings of the drawing in a request's `params`: whether the critics are to judge its texts."""

ANSWER = "training.tasks.gpu_answer_generation"

IN_TURN = ("into_queue", "created_at")

MOST_DEATHS = 3
"""Times that a worker may die with a request: the first time it had company, from then on it is alone."""

BROKE_OFF = (
    "The model broke off while it wrote this, and would again: the worker's log says where. "
    "Ask with other settings, or choose another model version."
)
DIED = (
    f"The worker ended {MOST_DEATHS} times while it wrote this, most likely for want of memory. Ask for fewer or "
    "shorter texts, choose a smaller model, or give the worker more memory."
)
NOT_JUDGED = "The critics broke off, so these texts are not judged: the worker's log says where."


@transaction.atomic
def request_generation(
    bot: Bot,
    *,
    prompt: str = "",
    count: int = 1,
    params: dict[str, Any] | None = None,
    version: ModelVersion | None = None,
) -> Generation:
    """Ask for `count` texts from a version (the current one unless given). Raises ValidationError."""
    generation = ask(bot, prompt, count, params, version)
    ring(ANSWER, generation.organization_id, generation.pk)
    return generation


@transaction.atomic
def request_generations(
    bot: Bot,
    *,
    prompts: Sequence[str],
    count: int = 1,
    params: dict[str, Any] | None = None,
    version: ModelVersion | None = None,
) -> list[Generation]:
    """Ask for `count` texts for each prompt, one request each, in their order; they are drawn together. With a seed
    given, each prompt has the next one. Raises ValidationError.
    """
    if not 1 <= len(prompts) <= MOST_PROMPTS or len(prompts) * count > MOST_TEXTS:
        raise ValidationError(
            {"prompts": f"Give 1 to {MOST_PROMPTS} prompts, and ask for at most {MOST_TEXTS} texts in all."}
        )
    asked = []
    for at, prompt in enumerate(prompts):
        seed = (params or {}).get("seed")
        seeded = {**(params or {}), "seed": (seed + at) % 2**63} if isinstance(seed, int) else params
        asked.append(ask(bot, prompt, count, seeded, version))
    ring(ANSWER, bot.organization_id, asked[0].pk)  # whoever answers the first takes the others on
    return asked


def ask(
    bot: Bot, prompt: str, count: int, params: dict[str, Any] | None, version: ModelVersion | None, **fields: Any
) -> Generation:
    """The row of a request; whoever makes it rings. Raises ValidationError."""
    version = version or versions.current_version(bot)
    if version is None:
        raise ValidationError("This bot has no model yet: fine-tune one first.")
    if version.bot_id != bot.pk:
        raise ValidationError({"version": "Choose a model version of this bot."})
    if not 1 <= count <= MOST_AT_ONCE:
        raise ValidationError({"n": f"Between 1 and {MOST_AT_ONCE} texts can be asked for at once."})
    if len(prompt) > 1000 or "\0" in prompt:
        raise ValidationError({"prompt": "A prompt has at most 1,000 characters, none of them NUL."})
    params = {"seed": secrets.randbelow(2**31), **(params or {})}  # kept, so that the answer can be had again
    drawing(params)
    quotas.check("gpu_seconds_per_day")
    quotas.consume("candidates_per_day", count)
    generation: Generation = Generation.objects.create(
        bot=bot, version=version, prompt=prompt, count=count, params=params, **fields
    )
    audit.record("generation.request", generation, after={"prompt": prompt, "n": count, **params, **fields})
    return generation


def drawing(params: Mapping[str, Any]) -> SamplingParams:
    """How a request's texts are drawn. Raises ValidationError naming the setting that is wrong."""
    if not isinstance(params.get(SCORES, False), bool):
        raise ValidationError({"config": f"“{SCORES}” must be true or false."})
    return configs.sampling({name: value for name, value in params.items() if name != SCORES})


@transaction.atomic
def write_ahead(bot: Bot, count: int, params: dict[str, Any] | None = None) -> list[Generation]:
    """Ask the bot's current version for `count` posts into its queue. Raises ValidationError.

    They are asked for in requests of their own, `AHEAD_BATCH` each: every one is answered, proposed and booked at once
    or, after a kill, again.
    """
    if not 1 <= count <= MOST_AHEAD:
        raise ValidationError({"count": f"Between 1 and {MOST_AHEAD} posts can be written ahead."})
    if (pending := pending_ahead(bot)) + count > MOST_AHEAD:
        raise ValidationError({"count": f"{pending} posts are still being written: ask for more when they are there."})
    first = (params or {}).get("seed", secrets.randbelow(2**31))
    asked = []
    for at, start in enumerate(range(0, count, AHEAD_BATCH)):
        seeded = {**(params or {}), "seed": first + at if isinstance(first, int) else first}
        asked.append(ask(bot, "", min(count - start, AHEAD_BATCH), seeded, None, into_queue=True))
    ring(ANSWER, bot.organization_id, asked[0].pk)  # the sweep rings for the next when this one is there
    return asked


def pending_ahead(bot: Bot) -> int:
    """How many posts are still to be written into the bot's queue."""
    queued = Generation.objects.filter(bot=bot, into_queue=True, state=Generation.State.QUEUED)
    return sum(queued.values_list("count", flat=True))


def answer_generation(generation_id: UUID | str, engine: Engine) -> bool:
    """Draw the texts that a request asks for, and those of every other request for the same weights that waits or comes
    meanwhile. Answering twice gives the same texts: the seed is part of the request. False when it was answered before.
    """
    generation = Generation.objects.select_related("version").get(pk=generation_id)
    if generation.state != Generation.State.QUEUED or generation.version is None:
        return False
    _Batch(generation.version, engine).run()
    return True


class _Batch:
    """Requests for one version's weights, answered together.

    None is taken on after `OPEN_SECONDS`: then the batch ends with those it has, and requests for other versions, whose
    bells wait behind it, have their turn. What breaks the batch is one request's fault: each is then answered alone,
    and so is one with which a worker died before.
    """

    def __init__(self, version: ModelVersion, engine: Engine) -> None:
        self._version, self._engine = version, engine
        self._sampler: Sampler | None = None
        self._open: dict[str, Generation] = {}
        self._apart: list[Generation] = []
        self._begun: list[str] = []
        self._drawn: Counter[UUID] = Counter()  # organization → texts
        self._told: dict[str, list[str]] = {}
        self._sent: dict[str, list[str]] = {}  # to those who read as texts are drawn
        self._to_judge: list[tuple[Generation, Sequence[Sample]]] = []
        self._closes = self._looked = 0.0

    def run(self) -> None:
        """Until everything that was taken on is answered. The organizations share what the time costs."""
        began = time.monotonic()
        try:
            self._answer_all()
            self._judge()
        finally:
            deaths.ended(self._begun)
            seconds = time.monotonic() - began
            for organization_id, texts in self._drawn.items():
                with tenant(organization_id):
                    quotas.charge("gpu_seconds_per_day", seconds * texts / self._drawn.total())

    def _answer_all(self) -> None:
        self._looked = time.monotonic()
        self._closes = self._looked + OPEN_SECONDS
        self._take()
        self._draw()
        self._closes = 0.0
        while self._apart:
            self._join(self._apart.pop(0))
            self._draw()

    def _draw(self) -> None:
        """Until the texts of what was taken on are there."""
        self._look_for_readers()
        while self._sampler is not None and self._sampler.busy:
            try:
                self._advance(self._sampler)
            except DatabaseError:  # not a request's fault: the sweep rings again
                raise
            except Exception as error:
                self._break_off(error)

    def _advance(self, sampler: Sampler) -> None:
        for answer in sampler.step():
            generation = self._open[answer.key]
            if answer.error:
                _settle(generation, _failure(EngineError(answer.error)))
            else:
                if answer.key in self._sent:
                    streaming.send(answer.key, self._sent.pop(answer.key), [each.text for each in answer.samples])
                self._answered(generation, answer.samples)
            del self._open[answer.key]
        self._send(sampler)
        if (now := time.monotonic()) - self._looked >= LOOK_SECONDS:
            self._looked = now
            if now < self._closes:
                self._take()
            self._tell(sampler)
            self._look_for_readers()

    def _break_off(self, error: Exception) -> None:
        """One request alone has failed; of several, each is answered alone to find out which one it is."""
        broken, self._open, self._sampler = list(self._open.values()), {}, None
        if len(broken) == 1:
            _settle(broken[0], _failure(error))
        else:
            log.warning("%d requests are answered one by one: together they broke off: %s", len(broken), error)
            self._apart += broken

    def _answered(self, generation: Generation, samples: Sequence[Sample]) -> None:
        if generation.params.get(SCORES) and not generation.into_queue:
            self._to_judge.append((generation, samples))  # once all are drawn: it would hold the others up
            return
        with tenant(generation.organization_id):
            drafts = ahead.drafts(generation, samples, self._engine) if generation.into_queue else []
        _settle(generation, _done(samples), drafts)

    def _judge(self) -> None:
        for generation, samples in self._to_judge:
            assert generation.version is not None  # one without is never taken on
            answer, texts = _done(samples), [generation.prompt + sample.text for sample in samples]
            try:
                with tenant(generation.organization_id):
                    found = judging.scores(generation.version, texts, self._engine)
            except DatabaseError:
                raise
            except Exception:
                log.exception("the texts of request %s could not be judged", generation.pk)
                found = [{"notes": [NOT_JUDGED]} for _ in texts]
            for row, each in zip(answer["samples"], found, strict=True):
                row["scores"] = each
            _settle(generation, answer)

    def _take(self) -> None:
        """Take on what is waiting, oldest first; of what is written ahead, one request at a time."""
        # everyone: bots of several organizations may speak with the same weights; each row is settled in its tenant.
        waiting = Generation.everyone.filter(state=Generation.State.QUEUED, version__checksum=self._version.checksum)
        judged = [generation for generation, _ in self._to_judge]
        taken = [*self._open, *(str(each.pk) for each in (*judged, *self._apart))]
        new = list(waiting.exclude(pk__in=taken).select_related("bot__connection", "version").order_by(*IN_TURN))
        died = deaths.of([str(generation.pk) for generation in new])
        for generation in new:
            if generation.into_queue and any(each.into_queue for each in (*self._open.values(), *self._apart)):
                break
            if generation.version is None or not artifacts.alike(generation.version.folder, self._version.folder):
                continue  # the same weights with another tokenizer write other texts
            if (times := died[str(generation.pk)]) >= MOST_DEATHS:
                log.error("request %s is given up: a worker died with it %d times", generation.pk, times)
                _settle(generation, {"state": Generation.State.FAILED, "error": DIED})
                deaths.ended([str(generation.pk)])
            elif times:
                self._apart.append(generation)
            else:
                self._join(generation)

    def _join(self, generation: Generation) -> None:
        """Take a request on. One that cannot be answered fails alone."""
        key = str(generation.pk)
        if key not in self._begun:
            deaths.begun(key)
            self._begun.append(key)
        try:
            folder = artifacts.local_folder(self._version.folder, self._version.checksum)
        except ArtifactError as error:  # whatever else a storage raises may pass: the sweep rings again
            _settle(generation, _failure(error))
            return
        try:
            self._sampler = self._sampler or self._engine.sampler(folder)
            self._sampler.add(_request(generation))
        except DatabaseError:
            raise
        except Exception as error:
            _settle(generation, _failure(error))
        else:
            self._open[key] = generation
            self._drawn[generation.organization_id] += generation.count

    def _look_for_readers(self) -> None:
        for key in streaming.watched(self._open):
            self._sent.setdefault(key, [])

    def _send(self, sampler: Sampler) -> None:
        """Send what is new to those who read along."""
        for key in self._sent.keys() & self._open.keys():
            before, self._sent[key] = self._sent[key], sampler.texts(key)
            streaming.send(key, before, self._sent[key])

    def _tell(self, sampler: Sampler) -> None:
        """Show watchers how far the texts have come."""
        for key, generation in self._open.items():
            texts = sampler.texts(key)
            if texts != self._told.get(key):
                self._told[key] = texts
                news = {"type": "generation", "generation": key, "state": generation.state, "texts": texts}
                live.tell(generation.bot_id, news)


def _request(generation: Generation) -> TextRequest:
    connection = generation.bot.connection
    return TextRequest(
        key=str(generation.pk),
        prompts=(generation.prompt,) * generation.count,
        params=drawing(generation.params),
        limit=LengthLimit(0, connection.face.excess),
        owner=str(generation.organization_id),
    )


def _done(samples: Sequence[Sample]) -> dict[str, Any]:
    rows = [
        {
            "text": sample.text,
            "logprob": sample.logprob,
            "ended": sample.ended,
            "tokens": len(sample.token_ids),
            "pieces": [list(pair) for pair in zip(sample.pieces, sample.token_logprobs, strict=False)],
        }
        for sample in samples
    ]
    return {"state": Generation.State.DONE, "samples": rows}


def _failure(error: Exception) -> dict[str, Any]:
    if isinstance(error, ValidationError):
        words = " ".join(error.messages)
    elif isinstance(error, EngineError | ArtifactError):
        words = str(error)
    else:
        log.error("a request for texts broke off: %s", error, exc_info=error)
        words = BROKE_OFF
    return {"state": Generation.State.FAILED, "error": words[:500]}


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    """What the audit log is to know of an answer: its texts are in its own row."""
    return {name: len(value) if name == "samples" else value for name, value in fields.items()}


def _settle(generation: Generation, fields: dict[str, Any], drafts: Sequence[Draft] = ()) -> None:
    """The first answer counts; a second one would be the same. What is for the queue is proposed along with it."""
    with tenant(generation.organization_id), transaction.atomic():
        queued = Generation.objects.filter(pk=generation.pk, state=Generation.State.QUEUED)
        if queued.update(finished_at=clock.now(), **fields):
            audit.record("generation.answer", generation, before={"state": generation.state}, after=_told(fields))
            if generation.into_queue and fields["state"] == Generation.State.DONE:
                ahead.propose(generation, drafts)
            news = {"type": "generation", "generation": str(generation.pk), "state": fields["state"]}
            live.tell(generation.bot_id, news)
    streaming.end(generation.pk)  # after the commit: who hears it reads the row
