"""The matrix of roles, and that it grows upwards."""

from __future__ import annotations

from itertools import pairwise

import pytest

from accounts.roles import EVERY_PERMISSION, PERMISSIONS, Role, allows, permissions_of

UPWARDS = (Role.VIEWER, Role.MODERATOR, Role.EDITOR, Role.ADMIN, Role.OWNER)


def test_each_role_can_do_all_that_the_one_below_it_can() -> None:
    assert set(UPWARDS) == set(Role) == set(PERMISSIONS)
    assert all(PERMISSIONS[lower] < PERMISSIONS[higher] for lower, higher in pairwise(UPWARDS))


@pytest.mark.parametrize(
    ("permission", "lowest"),
    [
        ("post_view", Role.VIEWER),
        ("post_approve", Role.MODERATOR),
        ("bot_pause", Role.MODERATOR),
        ("post_write", Role.EDITOR),
        ("bot_edit", Role.EDITOR),
        ("run_control", Role.EDITOR),
        ("connection_edit", Role.ADMIN),
        ("token_manage", Role.ADMIN),
        ("audit_view", Role.ADMIN),
        ("organization_delete", Role.OWNER),
    ],
)
def test_who_may(permission: str, lowest: Role) -> None:
    allowed = UPWARDS[UPWARDS.index(lowest) :]
    assert tuple(role for role in UPWARDS if allows(role, permission)) == allowed


def test_a_viewer_only_looks() -> None:
    assert {permission.rsplit("_", 1)[1] for permission in PERMISSIONS[Role.VIEWER]} == {"view"}


def test_a_permission_that_does_not_exist_is_an_error_and_not_a_no() -> None:
    with pytest.raises(KeyError, match="post_aprove"):
        allows(Role.OWNER, "post_aprove")


def test_templates_get_every_permission_by_name() -> None:
    assert set(permissions_of(Role.VIEWER)) == EVERY_PERMISSION
    assert {name for name, can in permissions_of(Role.MODERATOR).items() if can} == PERMISSIONS[Role.MODERATOR]
