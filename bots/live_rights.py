"""Who may watch what: asked when a connection opens and at every subscription, and again every few seconds for all
connections of a process at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from django.contrib.sessions.models import Session

from accounts import clock
from accounts.access import SECOND_FACTOR_WORDS, membership_in, session_lives
from accounts.models import ApiToken, Membership, User
from accounts.second_factor import having_second_factor
from accounts.tenancy import TenantModel
from accounts.tokens import find_token


@dataclass(frozen=True)
class Refusal:
    """Why not: a code and words for the client, and the code that closes a socket that is refused as a whole."""

    code: str
    detail: str
    close: int


UNAUTHENTICATED = Refusal(
    "unauthenticated", "Sign in, or send an API token that is neither revoked nor expired.", close=4401
)
NO_SECOND_FACTOR = Refusal("forbidden", SECOND_FACTOR_WORDS, close=4403)
FORBIDDEN = Refusal("forbidden", "Your role, or the token's scopes, do not allow this.", close=4403)
NOT_FOUND = Refusal("not_found", "There is no such thing here, or it is not yours to see.", close=4404)


@dataclass(frozen=True)
class Identity:
    """Somebody in an organization, by a session or by a token (whose hash changes when it gets a new secret)."""

    organization_id: UUID
    membership_id: int
    session_key: str | None = None
    token_sha256: str | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of object that can be watched: the permission it takes, and its model."""

    permission: str
    model: type[TenantModel]


KINDS: dict[str, Kind] = {}
"""`bot:<id>` is a topic of the kind "bot". Each room registers its own in its `apps.py`."""
ORGANIZATION = "organization"
ORGANIZATION_PERMISSION = "organization_view"


def by_session(user: object, session_key: str | None, slug: str) -> Identity | Refusal:
    """Whom a browser's session names, in the organization of that slug."""
    if not isinstance(user, User) or session_key is None:
        return UNAUTHENTICATED
    membership = membership_in(user, slug)
    if membership is None:
        return NOT_FOUND
    return Identity(membership.organization_id, membership.pk, session_key=session_key)


def by_token(secret: str, slug: str) -> Identity | Refusal:
    """Whom an API token names, in the organization of that slug."""
    token = find_token(secret)
    if token is None:
        return UNAUTHENTICATED
    if token.organization.slug != slug:
        return NOT_FOUND
    return Identity(token.organization_id, token.membership_id, token_sha256=token.sha256)


def standings(identities: Collection[Identity]) -> dict[Identity, frozenset[str] | Refusal]:
    """What each may do at present, or why nothing. At most four queries, however many are asked for."""
    members = _memberships(identities)
    sessions = _sessions({each.session_key for each in identities if each.session_key})
    scopes = _scopes({each.token_sha256 for each in identities if each.token_sha256})
    demanding = {member.user_id for member in members.values() if member.organization.demands_mfa}
    secured = having_second_factor(demanding) if demanding else set()

    def standing(identity: Identity) -> frozenset[str] | Refusal:
        member = members.get(identity.membership_id)
        if identity.token_sha256 is not None and identity.token_sha256 not in scopes:
            return UNAUTHENTICATED
        if member is None:
            return NOT_FOUND
        if identity.session_key is not None and not session_lives(sessions.get(identity.session_key), member.user):
            return UNAUTHENTICATED
        if member.organization.demands_mfa and member.user_id not in secured:
            return NO_SECOND_FACTOR
        allowed = frozenset(permission for permission, can in member.can.items() if can)
        carried = scopes[identity.token_sha256] if identity.token_sha256 else None
        return allowed if carried is None else allowed & carried

    return {identity: standing(identity) for identity in identities}


def existing(topics: Iterable[tuple[UUID, str]]) -> set[tuple[UUID, str]]:
    """Which of these (organization, topic) are there. One query for each kind of object."""
    wanted = set(topics)
    found = {(organization, topic) for organization, topic in wanted if topic == f"{ORGANIZATION}:{organization}"}
    for name, kind in KINDS.items():
        ids = {topic.removeprefix(f"{name}:") for _, topic in wanted if topic.startswith(f"{name}:")}
        if ids:
            # everyone: one look for the watchers of all organizations; each is compared with its own below.
            rows = kind.model.everyone.filter(pk__in=ids).values_list("organization_id", "pk")
            found |= {(organization, f"{name}:{pk}") for organization, pk in rows} & wanted
    return found


def permission_of(topic: str) -> str | None:
    """What it takes to watch a topic; None for one of an unknown kind."""
    name = topic.partition(":")[0]
    if name == ORGANIZATION:
        return ORGANIZATION_PERMISSION
    return KINDS[name].permission if name in KINDS else None


def _memberships(identities: Collection[Identity]) -> dict[int, Membership]:
    # everyone: connections of all organizations are looked at together.
    found = Membership.everyone.select_related("organization", "user").filter(
        pk__in={each.membership_id for each in identities}, user__is_active=True
    )
    return {membership.pk: membership for membership in found}


def _sessions(keys: set[str]) -> dict[str, Session]:
    found = Session.objects.filter(session_key__in=keys) if keys else []
    return {session.session_key: session for session in found}


def _scopes(hashes: set[str]) -> dict[str, frozenset[str] | None]:
    """The living ones of these tokens, with the permissions that they are confined to."""
    if not hashes:
        return {}
    # everyone: connections of all organizations are looked at together.
    living = ApiToken.everyone.filter(sha256__in=hashes, revoked_at=None).values_list("sha256", "scopes", "expires_at")
    now = clock.now()
    return {
        sha256: None if scopes is None else frozenset(scopes)
        for sha256, scopes, expires_at in living
        if expires_at is None or expires_at > now
    }
