from django.urls import path

from bots.consumers import BotConsumer

websocket_urlpatterns = [path("ws/o/<slug:slug>/bots/<uuid:bot_id>/", BotConsumer.as_asgi())]
