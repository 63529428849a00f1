"""The API below one organization's address."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from accounts.audit_api import AuditViewSet
from accounts.export_api import ExportViewSet
from accounts.member_api import InvitationViewSet, MemberViewSet
from accounts.notification_api import NotificationChoiceViewSet, NotificationViewSet
from accounts.organization_api import ThisOrganizationViewSet
from accounts.token_api import TokenViewSet
from accounts.usage_api import UsageViewSet
from accounts.webhook_api import WebhookDeliveryViewSet, WebhookViewSet
from bots.api import BotViewSet, ScheduleViewSet, ScoreViewSet
from bots.calendar_api import CalendarViewSet
from bots.delivery_api import NeedsHumanViewSet, PublishingViewSet
from bots.moderation_api import ModerationViewSet
from bots.post_api import ImageViewSet, PostViewSet
from bots.queue_api import QueueViewSet
from bots.reply_api import CandidateViewSet, IncomingViewSet, ReplyRulesViewSet
from bots.review_api import ReviewViewSet
from bots.sanction_api import SanctionViewSet
from faces.api import ConnectionViewSet
from training.api import DatasetViewSet
from training.example_api import ExampleViewSet
from training.generation_api import GenerationViewSet
from training.lift_api import LiftViewSet
from training.pipeline_api import HarvestViewSet, RetrainingViewSet, WriteAheadViewSet
from training.run_api import RunViewSet
from training.sandbox_api import SandboxBotViewSet
from training.share_api import ShareLinkViewSet
from training.version_api import CanaryViewSet, VersionViewSet

router = SimpleRouter()
router.register("audit", AuditViewSet, basename="api-audit")
router.register("bots", BotViewSet, basename="api-bot")
router.register("calendar", CalendarViewSet, basename="api-calendar")
router.register("candidates", CandidateViewSet, basename="api-candidate")
router.register("canaries", CanaryViewSet, basename="api-canary")
router.register("connections", ConnectionViewSet, basename="api-connection")
router.register("datasets", DatasetViewSet, basename="api-dataset")
router.register("examples", ExampleViewSet, basename="api-example")
router.register("exports", ExportViewSet, basename="api-export")
router.register("generate", GenerationViewSet, basename="api-generation")
router.register("harvests", HarvestViewSet, basename="api-harvest")
router.register("images", ImageViewSet, basename="api-image")
router.register("incoming", IncomingViewSet, basename="api-incoming")
router.register("invitations", InvitationViewSet, basename="api-invitation")
router.register("lift", LiftViewSet, basename="api-lift")
router.register("members", MemberViewSet, basename="api-member")
router.register("models", VersionViewSet, basename="api-model")
router.register("moderation", ModerationViewSet, basename="api-moderation")
router.register("needs-human", NeedsHumanViewSet, basename="api-needs-human")
router.register("notification-choices", NotificationChoiceViewSet, basename="api-notification-choice")
router.register("notifications", NotificationViewSet, basename="api-notification")
router.register("posts", PostViewSet, basename="api-post")
router.register("publishing", PublishingViewSet, basename="api-publishing")
router.register("queue", QueueViewSet, basename="api-queue")
router.register("reply-rules", ReplyRulesViewSet, basename="api-reply-rules")
router.register("retrainings", RetrainingViewSet, basename="api-retraining")
router.register("review", ReviewViewSet, basename="api-review")
router.register("runs", RunViewSet, basename="api-run")
router.register("sanctions", SanctionViewSet, basename="api-sanction")
router.register("sandbox-bot", SandboxBotViewSet, basename="api-sandbox-bot")
router.register("schedules", ScheduleViewSet, basename="api-schedule")
router.register("scores", ScoreViewSet, basename="api-score")
router.register("share-links", ShareLinkViewSet, basename="api-share-link")
router.register("tokens", TokenViewSet, basename="api-token")
router.register("usage", UsageViewSet, basename="api-usage")
router.register("webhook-deliveries", WebhookDeliveryViewSet, basename="api-webhook-delivery")
router.register("webhooks", WebhookViewSet, basename="api-webhook")
router.register("write-ahead", WriteAheadViewSet, basename="api-write-ahead")
urlpatterns = [
    path(
        "",
        ThisOrganizationViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="api-organization",
    ),
    *(
        path(f"{verb}/", ThisOrganizationViewSet.as_view({"post": verb.replace("-", "_")}), name=f"api-{verb}")
        for verb in ("leave", "pause", "resume", "transfer", "undo-deletion")
    ),
    *router.urls,
]
