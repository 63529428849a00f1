"""The API below one organization's address."""

from rest_framework.routers import SimpleRouter

from bots.api import BotViewSet, PostViewSet, ScheduleViewSet, ScoreViewSet
from bots.delivery_api import NeedsHumanViewSet, PublishingViewSet
from bots.queue_api import QueueViewSet
from bots.reply_api import IncomingViewSet, ReplyRulesViewSet
from faces.api import ConnectionViewSet
from training.api import CanaryViewSet, DatasetViewSet, GenerationViewSet, VersionViewSet
from training.pipeline_api import HarvestViewSet, RetrainingViewSet, WriteAheadViewSet
from training.run_api import RunViewSet

router = SimpleRouter()
router.register("bots", BotViewSet, basename="api-bot")
router.register("canaries", CanaryViewSet, basename="api-canary")
router.register("connections", ConnectionViewSet, basename="api-connection")
router.register("datasets", DatasetViewSet, basename="api-dataset")
router.register("generate", GenerationViewSet, basename="api-generation")
router.register("harvests", HarvestViewSet, basename="api-harvest")
router.register("incoming", IncomingViewSet, basename="api-incoming")
router.register("models", VersionViewSet, basename="api-model")
router.register("needs-human", NeedsHumanViewSet, basename="api-needs-human")
router.register("posts", PostViewSet, basename="api-post")
router.register("publishing", PublishingViewSet, basename="api-publishing")
router.register("queue", QueueViewSet, basename="api-queue")
router.register("reply-rules", ReplyRulesViewSet, basename="api-reply-rules")
router.register("retrainings", RetrainingViewSet, basename="api-retraining")
router.register("runs", RunViewSet, basename="api-run")
router.register("schedules", ScheduleViewSet, basename="api-schedule")
router.register("scores", ScoreViewSet, basename="api-score")
router.register("write-ahead", WriteAheadViewSet, basename="api-write-ahead")
urlpatterns = router.urls
