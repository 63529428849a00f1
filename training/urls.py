from django.urls import path

from training import model_views, pipeline_views, run_views, views

app_name = "training"
BOT = "o/<slug:slug>/bots/<uuid:bot_id>/"
DATASET = BOT + "datasets/<uuid:dataset_id>/"
RUN = BOT + "runs/<uuid:run_id>/"
HARVEST = BOT + "harvests/<uuid:harvest_id>/"
CANARY = BOT + "canaries/<uuid:canary_id>/"
urlpatterns = [
    path(BOT + "datasets/", views.dataset_list, name="datasets"),
    path(BOT + "datasets/upload/", views.dataset_upload, name="dataset-upload"),
    path(BOT + "datasets/card/", views.dataset_card, name="dataset-card"),
    path(DATASET, views.dataset_detail, name="dataset-detail"),
    path(DATASET + "preview/", views.dataset_preview, name="dataset-preview"),
    path(DATASET + "import/", views.dataset_import, name="dataset-import"),
    path(BOT + "harvests/", pipeline_views.harvest_list, name="harvests"),
    path(BOT + "harvests/new/", pipeline_views.harvest_create, name="harvest-create"),
    path(HARVEST + "now/", pipeline_views.harvest_now, name="harvest-now"),
    path(HARVEST + "switch/", pipeline_views.harvest_switch, name="harvest-switch"),
    path(HARVEST + "remove/", pipeline_views.harvest_remove, name="harvest-remove"),
    path(BOT + "retraining/", pipeline_views.retraining_page, name="retraining"),
    path(BOT + "retraining/set/", pipeline_views.retraining_set, name="retraining-set"),
    path(BOT + "write-ahead/", pipeline_views.write_ahead, name="write-ahead"),
    path(BOT + "runs/", run_views.run_list, name="runs"),
    path(BOT + "runs/start/", run_views.run_start, name="run-start"),
    path(RUN, run_views.run_detail, name="run-detail"),
    path(RUN + "pause/", run_views.run_pause, name="run-pause"),
    path(RUN + "resume/", run_views.run_resume, name="run-resume"),
    path(RUN + "stop/", run_views.run_stop, name="run-stop"),
    path(RUN + "configure/", run_views.run_configure, name="run-configure"),
    path(RUN + "series/", views.run_series, name="run-series"),
    path(BOT + "models/", model_views.model_list, name="models"),
    path(BOT + "models/<uuid:version_id>/make-current/", model_views.model_make_current, name="model-make-current"),
    path(BOT + "models/<uuid:version_id>/try/", model_views.model_try, name="model-try"),
    path(CANARY + "end/", model_views.canary_end, name="canary-end"),
    path(CANARY + "promote/", model_views.canary_promote, name="canary-promote"),
    path(CANARY + "roll-back/", model_views.canary_roll_back, name="canary-roll-back"),
    path(BOT + "lift/", views.lift_panel, name="lift-panel"),
    path(BOT + "samples/", views.samples_panel, name="samples-panel"),
    path(BOT + "series/", views.bot_series, name="bot-series"),
]
