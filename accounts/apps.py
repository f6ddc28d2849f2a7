"""The app's configuration."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Accounts."""

    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        """Hear signals, and say what is kept about a person."""
        from . import checks, own_data, personal_data, signals  # noqa: F401

        personal_data.register("account", export=own_data.export, erase=own_data.erase)
