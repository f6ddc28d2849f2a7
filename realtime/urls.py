"""The addresses of the chat's pages, and of its documentation."""

from django.urls import path

from . import views

urlpatterns = [
    path("chat/", views.rooms, name="chat"),
    path("chat/<slug:slug>/", views.room, name="chat_room"),
    path("docs/chat/", views.documentation, name="chat_docs"),
    path("docs/chat/v1.json", views.asyncapi, name="chat_asyncapi"),
]
