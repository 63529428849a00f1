from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"

    def ready(self) -> None:
        from accounts import audit_log, leaving, quotas
        from bots import home as bots_home
        from bots import parts
        from bots.live_rights import KINDS, Kind
        from bots.services import removal as bots
        from training import home, portability
        from training.models import Canary, Dataset, Harvest, ModelVersion, Retraining, Run
        from training.services import removal
        from training.services.leaving import remove_learning

        portability.register_models()
        KINDS["run"] = Kind("run_view", Run)
        quotas.register("stored_bytes", quotas.stored(Dataset))
        quotas.register("stored_bytes", quotas.stored(ModelVersion))
        audit_log.register_page(Dataset, "training:dataset-detail", "bot_id", "pk")
        audit_log.register_page(Run, "training:run-detail", "bot_id", "pk")
        audit_log.register_page(ModelVersion, "training:models", "bot_id")
        audit_log.register_page(Canary, "training:models", "bot_id")
        audit_log.register_page(Harvest, "training:harvests", "bot_id")
        audit_log.register_page(Retraining, "training:retraining", "bot_id")

        parts.VERDICT.append(home.verdict)
        bots_home.CURVES.append(home.curves)
        bots_home.NEEDS.append(home.needs)
        bots_home.FIRST_STEPS["posts"] = home.own_posts
        bots.OBSTACLES.append(removal.obstacle)
        bots.LEFTOVERS.append(removal.leftovers)
        leaving.register_purger(remove_learning)
