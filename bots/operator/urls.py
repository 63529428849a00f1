"""Addresses of the panel's own pages, beside those of its lists."""

from django.urls import path

from bots.operator import rule_views, views

urlpatterns = [
    path("operator/queue/", views.review_queue, name="operator-queue"),
    path("operator/jobs/", views.jobs_page, name="operator-jobs"),
    path("operator/act/", views.act, name="operator-act"),
    path("operator/rules/try/", rule_views.test_box, name="operator-try"),
    path("operator/rules/dry-run/", rule_views.dry_run, name="operator-dry-run"),
]
