"""The app's configuration."""

from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    """The chat."""

    name = "realtime"
    verbose_name = "Chat"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Say what is kept about a person, and hear of whose access changes."""
        from accounts import personal_data

        from . import checks, metrics, own_data, signals  # noqa: F401

        personal_data.register("chat", export=own_data.export, erase=own_data.erase)
