"""How the operator's panel looks and what its sidebar leads to (django-unfold's settings)."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy


def _item(title: str, icon: str, view: str, permission: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(view),
        "permission": lambda request: request.user.has_perm(permission),
    }


SECTIONS: list[dict[str, Any]] = [
    {
        "title": "Moderation",
        "items": [
            _item("Review queue", "rule", "operator-queue", "bots.view_report"),
            _item("Rules", "gavel", "admin:bots_siterule_changelist", "bots.view_siterule"),
            _item("Reports", "flag", "admin:bots_report_changelist", "bots.view_report"),
            _item("Takedowns", "delete_forever", "admin:bots_takedown_changelist", "bots.view_takedown"),
            _item("Sanctions", "block", "admin:bots_sanction_changelist", "bots.view_sanction"),
            _item("Posts", "article", "admin:bots_post_changelist", "bots.view_post"),
        ],
    },
    {
        "title": "Running",
        "items": [
            _item("Jobs", "monitor_heart", "operator-jobs", "accounts.view_site"),
            _item("Kill switch", "power_settings_new", "admin:accounts_site_changelist", "accounts.view_site"),
            _item("Bots", "smart_toy", "admin:bots_bot_changelist", "bots.view_bot"),
            _item("Runs", "model_training", "admin:training_run_changelist", "training.view_run"),
        ],
    },
    {
        "title": "People",
        "items": [
            _item("Organizations", "domain", "admin:accounts_organization_changelist", "accounts.view_organization"),
            _item("People", "person", "admin:accounts_user_changelist", "accounts.view_user"),
            _item("Audit log", "history", "admin:accounts_auditentry_changelist", "accounts.view_auditentry"),
        ],
    },
]

# Kilroy's teal, by lightness and chroma as the pages have it (static/css/tokens.css).
TEAL = {
    "50": "oklch(97% .015 180)",
    "100": "oklch(93% .03 180)",
    "200": "oklch(87% .06 180)",
    "300": "oklch(80% .09 180)",
    "400": "oklch(72% .1 180)",
    "500": "oklch(55% .09 180)",
    "600": "oklch(46% .08 180)",
    "700": "oklch(40% .07 180)",
    "800": "oklch(34% .06 180)",
    "900": "oklch(28% .05 180)",
    "950": "oklch(22% .04 180)",
}
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Kilroy: operator",
    "SITE_HEADER": "Kilroy",
    "SITE_SUBHEADER": "Operator's panel",
    "SITE_URL": "/",
    "SITE_ICON": lambda request: static("img/kilroy.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("img/kilroy.svg")}],
    "COLORS": {"primary": TEAL},
    "STYLES": [lambda request: static("css/operator.css")],
    "SCRIPTS": [lambda request: static("js/operator.js")],
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": SECTIONS},
}
