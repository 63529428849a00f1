from django.urls import path

from faces import authorization_views, budget_views, views
from faces.kinds.sandbox import views as sandbox

app_name = "faces"
CONNECTIONS = "o/<slug:slug>/connections/"
CONNECTION = CONNECTIONS + "<uuid:connection_id>/"
urlpatterns = [
    path(CONNECTIONS, views.index, name="connections"),
    path(CONNECTIONS + "new/<slug:kind>/", views.new, name="connection-new"),
    path(CONNECTION, views.detail, name="connection"),
    path(CONNECTION + "change/", views.change, name="connection-change"),
    path(CONNECTION + "check/", views.check, name="connection-check"),
    path(CONNECTION + "budget/", budget_views.budget, name="connection-budget"),
    path(CONNECTION + "learning/", views.learning, name="connection-learning"),
    path(CONNECTION + "authorize/", authorization_views.authorize, name="connection-authorize"),
    path("connect/callback/", authorization_views.callback, name="connect-callback"),
    path(CONNECTION + "sandbox/", sandbox.feed, name="sandbox-feed"),
    path(CONNECTION + "sandbox/images/<str:sha256>/", sandbox.image, name="sandbox-image"),
]
