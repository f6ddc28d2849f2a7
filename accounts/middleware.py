"""The limits of a browser session, looked at with each request that brings one."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from . import sessions


class SessionLimitsMiddleware:
    """Runs sync, in the thread that WhiteNoise's place makes of the stack; costs nothing without a session cookie."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Hold the session to its limits, then answer."""
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            sessions.hold_to_limits(request)
        return self.get_response(request)
