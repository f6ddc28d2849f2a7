"""The addresses of delivery records."""

from django.urls import path

from . import api

urlpatterns = [path("dora", api.DoraView.as_view())]
