from django.urls import path

from faces.kinds.sandbox import views as sandbox

app_name = "faces"
CONNECTION = "o/<slug:slug>/connections/<uuid:connection_id>/"
urlpatterns = [
    path(CONNECTION + "sandbox/", sandbox.feed, name="sandbox-feed"),
    path(CONNECTION + "sandbox/images/<str:sha256>/", sandbox.image, name="sandbox-image"),
]
