"""The app's configuration."""

from django.apps import AppConfig


class ContentConfig(AppConfig):
    """The library."""

    name = "content"
    verbose_name = "Library"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Say what is kept about a person, and what every serving process does every few seconds."""
        from accounts import personal_data

        from . import catalogue, checks, facts, indexing, own_data, signals  # noqa: F401

        personal_data.register("content", export=own_data.export, erase=own_data.erase)
