from django.urls import path

from bots import delivery_views, post_views, queue_views, reply_views, views

app_name = "bots"
BOT = "o/<slug:slug>/bots/<uuid:bot_id>/"
POST = BOT + "posts/<uuid:post_id>/"
UNSETTLED = "o/<slug:slug>/needs-human/<uuid:post_id>/"
urlpatterns = [
    path("o/<slug:slug>/", views.home, name="home"),
    path("o/<slug:slug>/bots/new/", views.new, name="new"),
    path("o/<slug:slug>/needs-human/", delivery_views.needs_human, name="needs-human"),
    path(UNSETTLED + "confirm/", delivery_views.confirm, name="needs-human-confirm"),
    path(UNSETTLED + "send-again/", delivery_views.send_again, name="needs-human-send-again"),
    path(UNSETTLED + "give-up/", delivery_views.give_up, name="needs-human-give-up"),
    path(BOT, views.overview, name="overview"),
    path(BOT + "settings/", views.settings, name="settings"),
    path(BOT + "pause/", views.pause, name="pause"),
    path(BOT + "resume/", views.resume, name="resume"),
    path(BOT + "schedule/", views.schedule, name="schedule"),
    path(BOT + "queue/", queue_views.queue_page, name="queue"),
    path(BOT + "queue/decide/", queue_views.queue_decide, name="queue-decide"),
    path(BOT + "queue/order/", queue_views.queue_order, name="queue-order"),
    path(BOT + "queue/import/", queue_views.queue_import, name="queue-import"),
    path(BOT + "queue/<uuid:post_id>/move/", queue_views.queue_move, name="queue-move"),
    path(BOT + "replies/", reply_views.reply_list, name="replies"),
    path(BOT + "replies/rules/", reply_views.reply_rules, name="reply-rules"),
    path(BOT + "replies/<uuid:incoming_id>/", reply_views.reply_detail, name="reply-detail"),
    path(BOT + "posts/", post_views.post_list, name="posts"),
    path(BOT + "posts/latest/", post_views.posts_fragment, name="posts-fragment"),
    path(BOT + "posts/next/", post_views.next_posts_fragment, name="next-posts-fragment"),
    path(BOT + "posts/new/", post_views.post_create, name="post-create"),
    path(BOT + "posts/count/", post_views.post_count, name="post-count"),
    path(POST, post_views.post_detail, name="post-detail"),
    path(POST + "approve/", post_views.post_approve, name="post-approve"),
    path(POST + "decline/", post_views.post_decline, name="post-decline"),
    path(POST + "edit/", post_views.post_edit, name="post-edit"),
    path(POST + "cancel/", post_views.post_cancel, name="post-cancel"),
    path(POST + "publish-now/", post_views.post_publish_now, name="post-publish-now"),
    path(POST + "take-down/", post_views.post_take_down, name="post-take-down"),
    path(POST + "images/<uuid:image_id>/", post_views.post_image, name="post-image"),
]
