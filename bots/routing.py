from django.urls import path

from bots.consumers import LiveConsumer

websocket_urlpatterns = [path("ws/o/<slug:slug>/", LiveConsumer.as_asgi())]
