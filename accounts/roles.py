"""Who may do what: the one matrix that pages, API, sockets and tests read."""

from __future__ import annotations

from django.db import models


class Role(models.TextChoices):
    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    EDITOR = "editor", "Editor"
    MODERATOR = "moderator", "Moderator"
    VIEWER = "viewer", "Viewer"


_VIEWER = frozenset(
    {
        "organization_view",
        "member_view",
        "usage_view",
        "bot_view",
        "connection_view",
        "dataset_view",
        "run_view",
        "model_view",
        "post_view",
        "schedule_view",
    }
)
_MODERATOR = _VIEWER | {"post_approve", "bot_pause"}
_EDITOR = _MODERATOR | {
    "bot_edit",
    "dataset_edit",
    "run_control",
    "model_promote",
    "post_write",
    "schedule_edit",
    "generate",
}
_ADMIN = _EDITOR | {
    "connection_edit",
    "member_manage",
    "token_manage",
    "webhook_manage",
    "audit_view",
    "organization_edit",
}
_OWNER = _ADMIN | {"organization_delete", "organization_export", "organization_transfer"}

PERMISSIONS: dict[str, frozenset[str]] = {
    Role.OWNER: _OWNER,
    Role.ADMIN: _ADMIN,
    Role.EDITOR: _EDITOR,
    Role.MODERATOR: _MODERATOR,
    Role.VIEWER: _VIEWER,
}
EVERY_PERMISSION = _OWNER


def allows(role: str, permission: str) -> bool:
    """Whether a role carries a permission. Raises KeyError for a permission that does not exist, so that a typing
    error is not a "no".
    """
    if permission not in EVERY_PERMISSION:
        raise KeyError(f"There is no permission “{permission}”.")
    return permission in PERMISSIONS[role]


def outranks(role: str, other: str) -> bool:
    """Whether a role stands above another one."""
    return Role.values.index(role) < Role.values.index(other)


def permissions_of(role: str) -> dict[str, bool]:
    """Every permission with whether the role carries it: what templates ask as `can.post_approve`."""
    return {permission: permission in PERMISSIONS[role] for permission in sorted(EVERY_PERMISSION)}
