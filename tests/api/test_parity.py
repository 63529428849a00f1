"""Everything a page can do, the API can do: each page stands here with the operations that do the same."""

from __future__ import annotations

import pytest

from tests.routes import API, PAGES

ORGANIZATION = {
    "settings/": "GET /",
    "settings/name/": "PATCH /",
    "settings/second-factor/": "PATCH /",
    "settings/leave/": "POST leave/",
    "settings/deletion/": "DELETE /",
    "settings/deletion/undo/": "POST undo-deletion/",
    "settings/audit/": "GET audit/",
    "settings/audit/export/": "GET audit/export/",
    "settings/usage/": "GET usage/",
    "settings/exports/": "GET exports/, POST exports/",
    "settings/exports/<uuid:export_id>/delete/": "DELETE exports/<pk>/",
    "settings/members/": "GET members/",
    "settings/members/<uuid:person_id>/role/": "PATCH members/<pk>/",
    "settings/members/<uuid:person_id>/remove/": "DELETE members/<pk>/",
    "settings/members/<uuid:person_id>/transfer/": "POST transfer/",
    "settings/invitations/": "POST invitations/",
    "settings/invitations/<uuid:invitation_id>/resend/": "POST invitations/<pk>/resend/",
    "settings/invitations/<uuid:invitation_id>/revoke/": "POST invitations/<pk>/revoke/",
    "settings/tokens/": "GET tokens/, POST tokens/",
    "settings/tokens/<uuid:token_id>/rotate/": "POST tokens/<pk>/rotate/",
    "settings/tokens/<uuid:token_id>/revoke/": "POST tokens/<pk>/revoke/",
    "settings/webhooks/": "GET webhooks/",
    "settings/webhooks/new/": "POST webhooks/",
    "settings/webhooks/<uuid:webhook_id>/": "GET webhooks/<pk>/, GET webhook-deliveries/",
    "settings/webhooks/<uuid:webhook_id>/change/": "PATCH webhooks/<pk>/",
    "settings/webhooks/<uuid:webhook_id>/switch/": "PATCH webhooks/<pk>/",
    "settings/webhooks/<uuid:webhook_id>/delete/": "DELETE webhooks/<pk>/",
    "settings/webhooks/<uuid:webhook_id>/rotate/": "POST webhooks/<pk>/rotate-secret/",
    "settings/webhooks/<uuid:webhook_id>/test/": "POST webhooks/<pk>/test/",
    "settings/webhooks/deliveries/<uuid:delivery_id>/": "POST webhook-deliveries/<pk>/redeliver/",
    "notifications/": "GET notifications/",
    "notifications/bell/": "GET notifications/",
    "notifications/<uuid:notification_id>/": "POST notifications/<pk>/read/",
    "notifications/read/": "POST notifications/read-all/",
    "settings/notifications/": "GET notification-choices/, PATCH notification-choices/<pk>/",
    "pause/": "POST publishing/pause/",
    "resume/": "POST publishing/resume/",
    "sanctions/": "GET sanctions/",
    "sanctions/<uuid:sanction_id>/appeal/": "POST sanctions/<pk>/appeal/",
}
CONNECTION = {
    "connections/": "GET connections/, GET connections/kinds/",
    "connections/new/<slug:kind>/": "POST connections/, GET connections/kinds/",
    "connections/<uuid:connection_id>/": "GET connections/<pk>/, GET connections/<pk>/today/",
    "connections/<uuid:connection_id>/change/": "PATCH connections/<pk>/",
    "connections/<uuid:connection_id>/check/": "POST connections/<pk>/verify/",
    "connections/<uuid:connection_id>/budget/": "POST connections/<pk>/budget/",
    "connections/<uuid:connection_id>/learning/": "POST connections/<pk>/learning/",
    "connections/<uuid:connection_id>/authorize/": "POST connections/<pk>/authorize/",
    "connections/<uuid:connection_id>/sandbox/": "GET posts/, GET scores/",
    "connections/<uuid:connection_id>/sandbox/images/<str:sha256>/": "GET images/<pk>/file/",
}
BOT = {
    "": "GET bots/, GET posts/",
    "bots/new/": "POST bots/, POST connections/",
    "sandbox-bot/": "POST sandbox-bot/",
    "needs-human/": "GET needs-human/",
    "review/": "GET bots/, GET review/<pk>/",
    "review/again/": "POST review/<pk>/decide/",
    "needs-human/<uuid:post_id>/confirm/": "POST needs-human/<pk>/confirm/",
    "needs-human/<uuid:post_id>/send-again/": "POST needs-human/<pk>/send-again/",
    "needs-human/<uuid:post_id>/give-up/": "POST needs-human/<pk>/give-up/",
}
OF_A_BOT = {
    "": "GET bots/<pk>/, GET lift/<pk>/, GET bots/<pk>/point-cost/",
    "share/": "GET share-links/, POST share-links/",
    "share/<uuid:share_id>/revoke/": "POST share-links/<pk>/revoke/",
    "settings/": "PATCH bots/<pk>/, GET bots/<pk>/maturity/",
    "reward/": "GET bots/<pk>/, POST bots/<pk>/replay/",
    "reward/replay/": "POST bots/<pk>/replay/",
    "reward/save/": "PATCH bots/<pk>/, POST bots/<pk>/rescore/",
    "pause/": "POST bots/<pk>/pause/",
    "resume/": "POST bots/<pk>/resume/",
    "schedule/": "POST schedules/, PATCH schedules/<pk>/, POST schedules/preview/, GET schedules/best-hours/, "
    "GET bots/<pk>/costs/",
    "schedule/<uuid:schedule_id>/switch/": "PATCH schedules/<pk>/",
    "schedule/<uuid:schedule_id>/remove/": "DELETE schedules/<pk>/",
    "review/": "GET review/<pk>/",
    "review/agreement/": "GET review/<pk>/agreement/",
    "review/<uuid:post_id>/decide/": "POST review/<pk>/decide/",
    "review/<uuid:post_id>/undo/": "POST review/<pk>/undo/",
    "queue/": "GET queue/<pk>/",
    "queue/remove/": "POST posts/<pk>/cancel/",
    "queue/order/": "PATCH queue/<pk>/",
    "queue/import/": "POST queue/<pk>/preview/, POST queue/<pk>/import/",
    "queue/<uuid:post_id>/move/": "POST queue/<pk>/move/",
    "replies/": "GET incoming/",
    "replies/rules/": "GET reply-rules/<pk>/, PATCH reply-rules/<pk>/",
    "replies/<uuid:incoming_id>/": "GET incoming/<pk>/, GET candidates/",
    "calendar/": "GET calendar/<pk>/",
    "calendar/move/": "POST calendar/<pk>/move/",
    "calendar/undo/": "POST calendar/<pk>/move/, POST posts/<pk>/unschedule/",
    "posts/": "GET posts/",
    "posts/bulk/": "POST posts/batch/, POST posts/<pk>/take-down/",
    "posts/csv/": "GET posts/csv/",
    "posts/import/": "POST posts/preview-csv/, POST posts/import-csv/",
    "posts/preview/": "POST moderation/<pk>/check/",
    "posts/latest/": "GET posts/",
    "posts/next/": "GET queue/<pk>/",
    "posts/new/": "POST posts/, POST posts/<pk>/approve/, POST posts/<pk>/schedule/, POST posts/<pk>/publish-now/",
    "posts/count/": "POST moderation/<pk>/check/",
    "posts/<uuid:post_id>/": "GET posts/<pk>/, GET scores/, GET posts/<pk>/candidates/, GET posts/<pk>/why/",
    "posts/<uuid:post_id>/approve/": "POST posts/<pk>/approve/",
    "posts/<uuid:post_id>/decline/": "POST posts/<pk>/decline/",
    "posts/<uuid:post_id>/edit/": "PATCH posts/<pk>/",
    "posts/<uuid:post_id>/cancel/": "POST posts/<pk>/cancel/",
    "posts/<uuid:post_id>/publish-now/": "POST posts/<pk>/publish-now/",
    "posts/<uuid:post_id>/take-down/": "POST posts/<pk>/take-down/",
    "posts/<uuid:post_id>/report/": "POST posts/<pk>/report/",
    "posts/<uuid:post_id>/images/<uuid:image_id>/": "GET images/<pk>/file/",
    "datasets/": "GET datasets/",
    "datasets/upload/": "POST datasets/",
    "datasets/card/": "GET datasets/<pk>/statistics/",
    "datasets/<uuid:dataset_id>/": "GET datasets/<pk>/, GET datasets/<pk>/statistics/, GET datasets/<pk>/uses/",
    "datasets/<uuid:dataset_id>/examples/": "GET examples/",
    "datasets/<uuid:dataset_id>/allow/": "POST datasets/<pk>/allow/",
    "datasets/<uuid:dataset_id>/withdraw/": "POST datasets/<pk>/withdraw/",
    "datasets/<uuid:dataset_id>/delete/": "DELETE datasets/<pk>/",
    "datasets/<uuid:dataset_id>/preview/": "POST datasets/<pk>/columns/, POST datasets/<pk>/filters/",
    "datasets/<uuid:dataset_id>/import/": "POST datasets/<pk>/import/",
    "harvests/": "GET harvests/",
    "harvests/new/": "POST harvests/",
    "harvests/<uuid:harvest_id>/now/": "POST harvests/<pk>/now/",
    "harvests/<uuid:harvest_id>/switch/": "PATCH harvests/<pk>/",
    "harvests/<uuid:harvest_id>/remove/": "DELETE harvests/<pk>/",
    "retraining/": "GET retrainings/<pk>/",
    "retraining/set/": "PATCH retrainings/<pk>/",
    "write-ahead/": "POST write-ahead/",
    "runs/": "GET runs/, GET runs/schema/",
    "runs/start/": "POST runs/",
    "runs/compare/": "GET runs/<pk>/compare/, GET runs/<pk>/metrics/",
    "runs/<uuid:run_id>/": "GET runs/<pk>/, GET runs/<pk>/rounds/, GET runs/<pk>/samples/, GET runs/<pk>/changes/",
    "runs/<uuid:run_id>/samples/": "GET runs/<pk>/samples/",
    "runs/<uuid:run_id>/log/": "GET runs/<pk>/events/",
    "runs/<uuid:run_id>/csv/": "GET runs/<pk>/csv/",
    "runs/<uuid:run_id>/pin/": "POST runs/<pk>/pin/, POST runs/<pk>/unpin/",
    "runs/<uuid:run_id>/pause/": "POST runs/<pk>/pause/",
    "runs/<uuid:run_id>/resume/": "POST runs/<pk>/resume/",
    "runs/<uuid:run_id>/stop/": "POST runs/<pk>/stop/",
    "runs/<uuid:run_id>/configure/": "PATCH runs/<pk>/",
    "runs/<uuid:run_id>/series/": "GET runs/<pk>/metrics/",
    "models/": "GET models/, GET canaries/",
    "models/<uuid:version_id>/make-current/": "POST models/<pk>/make-current/",
    "models/<uuid:version_id>/try/": "POST models/<pk>/try/",
    "models/<uuid:version_id>/": "GET models/<pk>/, GET runs/<pk>/samples/",
    "models/compare/": "GET models/<pk>/, GET runs/<pk>/, GET runs/<pk>/samples/",
    "models/upload/": "POST models/upload/",
    "models/<uuid:version_id>/tag/": "POST models/<pk>/tag/",
    "models/<uuid:version_id>/download/": "GET models/<pk>/download/",
    "playground/": "GET generate/",
    "playground/draw/": "POST generate/",
    "playground/<uuid:generation_id>/": "GET generate/<pk>/",
    "playground/<uuid:generation_id>/events/": "POST generate/stream/",
    "playground/<uuid:generation_id>/propose/": "POST generate/<pk>/propose/",
    "time-machine/": "GET models/, GET generate/",
    "time-machine/start/": "POST generate/compare/",
    "time-machine/<uuid:group>/": "GET generate/",
    "canaries/<uuid:canary_id>/end/": "POST canaries/<pk>/end/",
    "canaries/<uuid:canary_id>/promote/": "POST canaries/<pk>/promote/",
    "canaries/<uuid:canary_id>/roll-back/": "POST canaries/<pk>/roll-back/",
    "lift/": "GET lift/<pk>/",
    "samples/": "GET lift/<pk>/, GET runs/<pk>/samples/",
    "series/": "GET runs/, GET runs/<pk>/metrics/",
}
COUNTERPARTS = ORGANIZATION | CONNECTION | BOT | {f"bots/<uuid:bot_id>/{page}": same for page, same in OF_A_BOT.items()}
"""Page below an organization's address → the operations that do or show the same."""
OPERATIONS = {
    (method.upper(), route.pattern.removeprefix("api/v1/organizations/<slug:slug>/") or "/"): route.permission(method)
    for route in API
    for method in route.actions
}


def _operations(page: str) -> list[tuple[str, str]]:
    pairs = [same.split(" ") for same in COUNTERPARTS[page].split(", ")]
    return [(method, path) for method, path in pairs]


def test_every_page_has_its_counterpart() -> None:
    assert {route.pattern.removeprefix("o/<slug:slug>/") for route in PAGES} == set(COUNTERPARTS)


@pytest.mark.parametrize("page", COUNTERPARTS)
def test_the_counterparts_are_there(page: str) -> None:
    assert [operation for operation in _operations(page) if operation not in OPERATIONS] == []


def test_what_changes_something_over_a_form_changes_something_over_the_api() -> None:
    """A form's page has an operation that writes, and one that asks for no more than the page does."""
    for route in PAGES:
        page = route.pattern.removeprefix("o/<slug:slug>/")
        operations = _operations(page)
        if _takes_forms_only(route.view):
            assert any(method != "GET" for method, _ in operations), page


def _takes_forms_only(view: object) -> bool:
    """Whether `require_POST` stands above the view."""
    while view is not None:
        cells = [cell.cell_contents for cell in getattr(view, "__closure__", None) or ()]
        if ["POST"] in cells:
            return True
        view = getattr(view, "__wrapped__", None)
    return False


def test_the_search_for_forms_finds_them() -> None:
    assert sum(_takes_forms_only(route.view) for route in PAGES) > 30
