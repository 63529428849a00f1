"""What people tried out with a bot's versions, for the gallery: texts with their tokens, judged, side by side; and a
branch of the lineage that was rolled back.
"""

from __future__ import annotations

import random
import uuid

from bots.models import Bot
from tests.factories import make_generation, make_version
from training.models import Generation, ModelVersion

PROMPT = "The harbour "
TEXTS = ("forgets its keys again and nobody minds.", "asks for a second opinion, says a quiet report.")


def make_texts(bot: Bot) -> Generation:
    """A comparison of the bot's versions (the answer of the first is returned), and a request of the playground."""
    chance = random.Random(5)
    versions = list(ModelVersion.objects.filter(bot=bot).order_by("number"))
    group, params = uuid.uuid4(), {"seed": 7, "temperature": 0.8, "scores": True}
    compared = [
        make_generation(
            bot,
            version=version,
            group=group,
            prompt=PROMPT,
            params=params,
            state="done",
            samples=[_sample(TEXTS[at % 2], chance)],
        )
        for at, version in enumerate(versions)
    ]
    make_generation(
        bot,
        version=versions[-1],
        prompt=PROMPT,
        count=2,
        params=params,
        state="done",
        samples=[_sample(text, chance) for text in TEXTS],
    )
    return compared[0]


def make_branch(bot: Bot) -> ModelVersion:
    """A version beside the line, which an older one took over from again."""
    versions = list(ModelVersion.objects.filter(bot=bot).order_by("number"))
    reason = {"to": versions[-1].number, "reason": "It fished for likes."}
    return make_version(
        bot, parent=versions[1], kind="online", is_current=False, tags=["louder"], report={"rolled_back": reason}
    )


def _sample(text: str, chance: random.Random) -> dict[str, object]:
    pieces = [[piece, -chance.expovariate(0.6)] for piece in _pieces(text)]
    return {
        "text": text,
        "logprob": sum(logprob for _, logprob in pieces) - 0.4,
        "ended": True,
        "tokens": len(pieces),
        "pieces": pieces,
        "scores": {
            "predicted": round(chance.gauss(0.3, 0.4), 3),
            "predicted_sd": 0.31,
            "realism": round(chance.random(), 3),
            "nearest_text": "The harbour forgets everything that it is told.",
            "shared_run": 20,
            "notes": ["The realism discriminator of this version is not reliable: take its word with caution."],
        },
    }


def _pieces(text: str) -> list[str]:
    """Pieces of a text as long as a tokenizer's are."""
    found, rest = [], text
    while rest:
        cut = 1 + next((at for at in range(3, len(rest)) if rest[at] == " " or at == 5), len(rest) - 1)
        found.append(rest[:cut])
        rest = rest[cut:]
    return found
