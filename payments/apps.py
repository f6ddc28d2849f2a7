"""The app's configuration."""

from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    """Payments."""

    name = "payments"
    verbose_name = "Payments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Point the Stripe library at the API, with limits of our own; say what is kept about a person."""
        from accounts import personal_data

        from . import checks, facts, own_data, signals, stripe_api  # noqa: F401

        stripe_api.install()
        personal_data.register(
            "payments",
            export=own_data.export,
            erase=own_data.erase,
            prepare=own_data.prepare,
            requested=own_data.requested,
            kept=own_data.kept,
            charged=own_data.charged,
        )
