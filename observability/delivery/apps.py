"""The app's configuration."""

from django.apps import AppConfig


class DeliveryConfig(AppConfig):
    """Delivery records."""

    name = "observability.delivery"
    label = "delivery"
    verbose_name = "Delivery"
