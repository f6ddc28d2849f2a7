"""The addresses of the library."""

from django.urls import path

from . import api, delivery, feeds, views

urlpatterns = [
    path("content/", views.library, name="content"),
    path("content/search/", views.search, name="content_search"),
    path("content/feed/", feeds.PublicFeed(), name="content_feed"),
    path("content/continue/", views.unfinished, name="content_continue"),
    path("content/collections/<slug:slug>/", views.collection, name="content_collection"),
    path("content/tags/<slug:slug>/", views.tag, name="content_tag"),
    path("content/<slug:slug>/", views.item, name="content_item"),
    path("watch/captions/<int:pk>/", views.captions, name="content_captions"),
    path("watch/media/<uuid:key>/", delivery.media, name="content_media"),
    path("watch/links/<uuid:key>/", delivery.link, name="content_link"),
    path("watch/beacons/", api.BeaconView.as_view(), name="content_beacons"),
    path("sitemap.xml", feeds.sitemap, name="sitemap"),
    path("robots.txt", feeds.robots, name="robots"),
]
