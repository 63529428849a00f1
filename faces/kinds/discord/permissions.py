"""What a bot may do in a channel. Source: discord.com/developers/docs, topic “Permissions”."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ADMINISTRATOR = 1 << 3
VIEW_CHANNEL = 1 << 10
SEND_MESSAGES = 1 << 11
ATTACH_FILES = 1 << 15
READ_MESSAGE_HISTORY = 1 << 16
SEND_MESSAGES_IN_THREADS = 1 << 38
ALL = (1 << 64) - 1

TEXT, ANNOUNCEMENT, ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD = 0, 5, 10, 11, 12
THREADS = frozenset({ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD})
WRITABLE = frozenset({TEXT, ANNOUNCEMENT}) | THREADS


def missing_permissions(
    member: Mapping[str, Any], server: Mapping[str, Any], channel: Mapping[str, Any], *, thread: bool
) -> list[str]:
    """The permissions that the member needs in the channel and lacks; for a thread, `channel` is its parent."""
    has = permissions(member, server, channel)
    needed = {
        "View Channel": VIEW_CHANNEL,
        "Send Messages in Threads" if thread else "Send Messages": SEND_MESSAGES_IN_THREADS
        if thread
        else SEND_MESSAGES,
        "Read Message History": READ_MESSAGE_HISTORY,
        "Attach Files": ATTACH_FILES,
    }
    return [name for name, bit in needed.items() if not has & bit]


def permissions(member: Mapping[str, Any], server: Mapping[str, Any], channel: Mapping[str, Any]) -> int:
    """The bit set of what a member may do in a channel of a server: roles first, then the channel's overwrites for
    everyone, for roles, and for the member, each denying before it allows.
    """
    member_id, everyone = member["user"]["id"], server["id"]
    if server.get("owner_id") == member_id:
        return ALL
    roles = {everyone, *member["roles"]}
    base = _union(int(role["permissions"]) for role in server["roles"] if role["id"] in roles)
    if base & ADMINISTRATOR:
        return ALL
    overwrites = channel.get("permission_overwrites", [])
    for concerned in ({everyone}, roles - {everyone}, {member_id}):
        rules = [rule for rule in overwrites if rule["id"] in concerned]
        base &= ~_union(int(rule["deny"]) for rule in rules)
        base |= _union(int(rule["allow"]) for rule in rules)
    return base


def _union(bits: Iterable[int]) -> int:
    total = 0
    for bit in bits:
        total |= bit
    return total
