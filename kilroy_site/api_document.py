"""What the OpenAPI document says beside the views: a word on each resource, and examples of the main requests."""

from __future__ import annotations

from typing import Any

TAGS = {
    "audit": "Who did what, and when; lines are only ever added.",
    "bots": "Bots: what they are, their rules, and their kill switch.",
    "calendar": "Days of a bot: what was and will be sent, and free slots.",
    "canaries": "Trials of model versions against the one that speaks.",
    "candidates": "Answers that were drawn for posts by others, chosen or not.",
    "connections": "Accounts on platforms, with their sealed credentials.",
    "datasets": "Past posts to learn from: uploaded, looked through, imported.",
    "examples": "The single past posts of datasets.",
    "exports": "Everything an organization has, as a zip; and such a zip coming in.",
    "generate": "Texts on request: at once, later, or as they are drawn.",
    "harvests": "Accounts that are read on a schedule, each into a dataset.",
    "images": "Images of posts.",
    "incoming": "Posts by others that bots saw.",
    "invitations": "Places in the organization that are offered by e-mail.",
    "lift": "Whether a bot is getting better.",
    "members": "Who belongs to the organization, and as what.",
    "models": "Model versions: tagged, tried out, made current, downloaded, uploaded.",
    "moderation": "The rules that every post goes through.",
    "needs-human": "Posts of which nobody knows whether they were published.",
    "notification-choices": "How you want to be told.",
    "notifications": "What you were told, and nobody else was.",
    "organizations": "Organizations as a whole.",
    "posts": "Posts: proposed, decided on, scheduled, published, taken down.",
    "publishing": "Whether the organization publishes, and its kill switch.",
    "queue": "Approved posts in the order in which they are sent.",
    "reply-rules": "Whom a bot answers.",
    "retrainings": "How a bot is trained again by itself.",
    "review": "Posts that wait for a person, one after the other.",
    "runs": "Fine-tuning and online learning, with all they measured.",
    "sanctions": "What the operator of the installation imposed, and appeals against it.",
    "sandbox-bot": "A bot that learns from a simulated audience, in one request.",
    "schedules": "When a bot posts.",
    "scores": "Reactions as they were read.",
    "share-links": "Addresses by which people outside see a bot's progress.",
    "tokens": "Keys for programs.",
    "usage": "What the organization uses of its quotas.",
    "webhook-deliveries": "Messages to webhooks, and how they fared.",
    "webhooks": "Addresses that are told of events.",
    "write-ahead": "Posts that a bot writes into its queue.",
}
BOT, DATASET, VERSION, CONNECTION = (
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "16fd2706-8baf-433b-82eb-8c7fada847da",
    "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
)
EXAMPLES: dict[str, dict[str, Any]] = {
    "bots_create": {"name": "Town crier", "connection": CONNECTION, "approval": "review"},
    "bots_pause": {"reason": "Holidays"},
    "connections_create": {"kind": "sandbox", "name": "Rehearsals"},
    "datasets_columns": {"columns": {"text": "body", "score": "likes"}},
    "generate_batch": {"bot": BOT, "prompts": ["Good morning", "Good night"], "n": 2, "temperature": 0.8},
    "generate_create": {"bot": BOT, "prompt": "Good morning", "n": 3, "seed": 7},
    "generate_propose": {"index": 0},
    "models_tag": {"tags": ["autumn", "good"]},
    "moderation_check": {"text": "Fresh bread at seven."},
    "posts_create": {"bot": BOT, "text": "Fresh bread at seven."},
    "posts_schedule": {"at": "2030-01-01T07:00:00Z"},
    "runs_create": {"bot": BOT, "kind": "offline", "dataset": DATASET, "config": {"max_epochs": 2.0, "seed": 7}},
    "schedules_create": {"bot": BOT, "kind": "interval", "interval_seconds": 3600, "zone": "Europe/Lisbon"},
    "tokens_create": {"name": "Dashboard", "scopes": ["bot_view", "post_view"]},
    "webhooks_create": {"url": "https://example.org/kilroy", "events": ["post.published", "run.finished"]},
}
"""Operation → a request's JSON."""


def with_examples(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: puts the examples where they belong."""
    for methods in result["paths"].values():
        for operation in methods.values():
            if operation["operationId"] in EXAMPLES:
                content = operation["requestBody"]["content"]["application/json"]
                content["examples"] = {"Example": {"value": EXAMPLES[operation["operationId"]]}}
    return result
