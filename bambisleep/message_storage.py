"""Where the words for the next page wait: in a cookie that is named and guarded as the session's is."""

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage


class GuardedCookie(CookieStorage):
    """Django's, with the prefix `__Host-` where there is TLS: no other host may set it."""

    cookie_name = settings.SESSION_COOKIE_NAME.replace("sessionid", "messages")


class Storage(FallbackStorage):
    """MESSAGE_STORAGE: the cookie; what it cannot hold, the session."""

    storage_classes = (GuardedCookie, SessionStorage)
