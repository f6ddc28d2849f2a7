"""The addresses of payments."""

from django.urls import include, path

from . import api

urlpatterns = [
    path("billing/", include("payments.pages_urls")),
    path("stripe/webhook/", api.WebhookView.as_view(), name="stripe_webhook"),
]
