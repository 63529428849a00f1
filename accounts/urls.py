from django.urls import path

from accounts import (
    audit_views,
    export_views,
    invitation_views,
    member_views,
    notification_views,
    organization_views,
    problem_views,
    token_views,
    usage_views,
    views,
    webhook_views,
)

app_name = "accounts"
SETTINGS = "o/<slug:slug>/settings/"
MEMBER = SETTINGS + "members/<uuid:person_id>/"
INVITATIONS = SETTINGS + "invitations/"
WEBHOOKS = "o/<slug:slug>/settings/webhooks/"
WEBHOOK = WEBHOOKS + "<uuid:webhook_id>/"
TOKENS = SETTINGS + "tokens/"
EXPORTS = SETTINGS + "exports/"
NOTIFICATIONS = "o/<slug:slug>/notifications/"
urlpatterns = [
    path("", views.start, name="start"),
    path("organizations/new/", organization_views.new, name="organization-new"),
    path("organizations/import/", export_views.import_page, name="import"),
    path("exports/<str:signed>/", export_views.download, name="export-download"),
    path(EXPORTS, export_views.index, name="exports"),
    path(EXPORTS + "<uuid:export_id>/delete/", export_views.delete, name="export-delete"),
    path("invitations/", invitation_views.show, name="invitation"),
    path("invitations/<str:secret>/", invitation_views.follow, name="follow-invitation"),
    path(SETTINGS, organization_views.general, name="settings"),
    path(SETTINGS + "name/", organization_views.rename, name="rename"),
    path(SETTINGS + "second-factor/", organization_views.second_factor, name="second-factor"),
    path(SETTINGS + "leave/", organization_views.leave, name="leave"),
    path(SETTINGS + "deletion/", organization_views.deletion, name="deletion"),
    path(SETTINGS + "deletion/undo/", organization_views.undo_deletion, name="undo-deletion"),
    path(SETTINGS + "audit/", audit_views.index, name="audit"),
    path(SETTINGS + "audit/export/", audit_views.export, name="audit-export"),
    path(SETTINGS + "usage/", usage_views.index, name="usage"),
    path(SETTINGS + "members/", member_views.index, name="members"),
    path(MEMBER + "role/", member_views.change_role, name="member-role"),
    path(MEMBER + "remove/", member_views.remove, name="member-remove"),
    path(MEMBER + "transfer/", member_views.transfer, name="member-transfer"),
    path(INVITATIONS, member_views.invite, name="invite"),
    path(INVITATIONS + "<uuid:invitation_id>/resend/", member_views.resend, name="invitation-resend"),
    path(INVITATIONS + "<uuid:invitation_id>/revoke/", member_views.revoke, name="invitation-revoke"),
    path(TOKENS, token_views.index, name="tokens"),
    path(TOKENS + "<uuid:token_id>/rotate/", token_views.rotate, name="token-rotate"),
    path(TOKENS + "<uuid:token_id>/revoke/", token_views.revoke, name="token-revoke"),
    path("problems/", problem_views.index, name="problems"),
    path("problems/<slug:kind>", problem_views.detail, name="problem"),
    path(NOTIFICATIONS, notification_views.index, name="notifications"),
    path(NOTIFICATIONS + "bell/", notification_views.bell, name="bell"),
    path(NOTIFICATIONS + "read/", notification_views.read_all, name="notifications-read"),
    path(NOTIFICATIONS + "<uuid:notification_id>/", notification_views.follow, name="notification"),
    path(SETTINGS + "notifications/", notification_views.choices, name="notification-choices"),
    path("unsubscribe/<str:token>/", notification_views.unsubscribe, name="unsubscribe"),
    path("o/<slug:slug>/pause/", views.pause, name="pause"),
    path("o/<slug:slug>/resume/", views.resume, name="resume"),
    path("sign-in/<str:uid>/<str:token>/", views.sign_in_link, name="sign-in-link"),
    path(WEBHOOKS, webhook_views.index, name="webhooks"),
    path(WEBHOOKS + "new/", webhook_views.new, name="webhook-new"),
    path(WEBHOOK, webhook_views.detail, name="webhook"),
    path(WEBHOOK + "change/", webhook_views.change, name="webhook-change"),
    path(WEBHOOK + "switch/", webhook_views.switch, name="webhook-switch"),
    path(WEBHOOK + "delete/", webhook_views.delete, name="webhook-delete"),
    path(WEBHOOK + "rotate/", webhook_views.rotate, name="webhook-rotate"),
    path(WEBHOOK + "test/", webhook_views.test, name="webhook-test"),
    path(WEBHOOKS + "deliveries/<uuid:delivery_id>/", webhook_views.redeliver, name="webhook-redeliver"),
]
