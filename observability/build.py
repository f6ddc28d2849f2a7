"""Which build is running, as a metric to join with."""

from django.conf import settings

from .metrics import UNKNOWN, gauge

BUILD_INFO = gauge(
    "bambisleep_build_info", "Always 1; the labels say which build runs.", version=UNKNOWN, revision=UNKNOWN
)


def announce(*, version: str) -> None:
    """Set the build's labels once, when the application is made."""
    BUILD_INFO.labels(version=version, revision=settings.REVISION).set(1)
