"""The ASGI application: the edge around Django and, when it has landed, the chat."""

import os
import threading

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bambisleep.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.conf import settings  # noqa: E402

from accounts import mail  # noqa: E402
from bambisleep import __version__  # noqa: E402
from observability import build, security  # noqa: E402
from observability.delivery import alerts  # noqa: E402
from observability.http.edge import Edge, refuse_websocket  # noqa: E402
from observability.http.handler import Handler  # noqa: E402
from observability.http.routes import expect_known_routes  # noqa: E402
from observability.refresh import refresher  # noqa: E402

build.announce(version=__version__)
expect_known_routes()

refresher.start()
security.writer.start()
mail.sender.start()
if settings.ALERTMANAGER_URL:
    threading.Thread(target=alerts.keep_synced, args=[threading.Event()], name="incidents", daemon=True).start()

protocols = ProtocolTypeRouter({"http": Handler(), "websocket": refuse_websocket})  # type: ignore[no-untyped-call]
application = Edge(protocols)
