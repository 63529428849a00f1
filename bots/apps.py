from django.apps import AppConfig


class BotsConfig(AppConfig):
    name = "bots"

    def ready(self) -> None:
        from accounts import audit_log, quotas
        from accounts.services import RESUME_OBSTACLES
        from bots import portability, sanctioned
        from bots.live_rights import KINDS, Kind
        from bots.models import Bot, Post, PostImage, Schedule
        from bots.services import removal

        RESUME_OBSTACLES.append(sanctioned.obstacle_to_resuming)
        removal.OBSTACLES.append(sanctioned.obstacle_to_deleting)
        KINDS["bot"] = Kind("bot_view", Bot)
        portability.register_models()
        audit_log.register_page(Bot, "bots:overview", "pk")
        audit_log.register_page(Post, "bots:post-detail", "bot_id", "pk")
        audit_log.register_page(Schedule, "bots:schedule", "bot_id")
        quotas.register("bots", lambda: Bot.objects.count())
        quotas.register("stored_bytes", quotas.stored(PostImage))
