from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("", views.start, name="start"),
    path("o/<slug:slug>/pause/", views.pause, name="pause"),
    path("o/<slug:slug>/resume/", views.resume, name="resume"),
    path("sign-in/", views.SignIn.as_view(), name="sign-in"),
    path("sign-in/<str:uid>/<str:token>/", views.sign_in_link, name="sign-in-link"),
    path("sign-out/", views.SignOut.as_view(), name="sign-out"),
]
