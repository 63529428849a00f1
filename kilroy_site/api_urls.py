"""The API below one organization's address."""

from rest_framework.routers import SimpleRouter

from bots.api import BotViewSet, PostViewSet, ScheduleViewSet, ScoreViewSet
from faces.api import ConnectionViewSet
from training.api import CanaryViewSet, DatasetViewSet, GenerationViewSet, VersionViewSet
from training.run_api import RunViewSet

router = SimpleRouter()
router.register("bots", BotViewSet, basename="api-bot")
router.register("canaries", CanaryViewSet, basename="api-canary")
router.register("connections", ConnectionViewSet, basename="api-connection")
router.register("datasets", DatasetViewSet, basename="api-dataset")
router.register("generate", GenerationViewSet, basename="api-generation")
router.register("models", VersionViewSet, basename="api-model")
router.register("posts", PostViewSet, basename="api-post")
router.register("runs", RunViewSet, basename="api-run")
router.register("schedules", ScheduleViewSet, basename="api-schedule")
router.register("scores", ScoreViewSet, basename="api-score")
urlpatterns = router.urls
