"""The ASGI application: the edge around Django and the chat."""

import gc
import os
import sys
import threading
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bambisleep.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.conf import settings  # noqa: E402

from accounts import mail  # noqa: E402
from bambisleep import __version__  # noqa: E402
from bambisleep.templating import load_templates  # noqa: E402
from observability import build, security  # noqa: E402
from observability.database import limit_statements  # noqa: E402
from observability.delivery import alerts  # noqa: E402
from observability.http.descriptors import raise_limit  # noqa: E402
from observability.http.edge import Edge  # noqa: E402
from observability.http.handler import Handler  # noqa: E402
from observability.http.routes import expect_known_routes  # noqa: E402
from observability.refresh import refresher  # noqa: E402
from realtime.routing import ROUTES, websockets  # noqa: E402

limit_statements()
raise_limit()
build.announce(version=__version__)
expect_known_routes(sockets=ROUTES)
if "daphne.server" in sys.modules:
    from observability.http import daphne_sockets

    daphne_sockets.mend()
if not settings.DEBUG:
    load_templates()

refresher.start()
security.writer.start()
mail.sender.start()
if settings.ALERTMANAGER_URL:
    threading.Thread(target=alerts.keep_synced, args=[threading.Event()], name="incidents", daemon=True).start()


def stop_background(seconds: float) -> bool:
    """Have the background's threads finish what they are at, and store what waits; once no request comes any more.

    Returns:
        Whether all were done within `seconds`.
    """
    deadline = time.monotonic() + seconds
    ended = [thread.stop(deadline) for thread in (refresher, mail.sender, security.writer)]
    return all(ended)


protocols = ProtocolTypeRouter({"http": Handler(), "websocket": websockets})  # type: ignore[no-untyped-call]
application = Edge(protocols)

# Whatever was made until here lives as long as the process. Without this, the collector goes through all of it now and
# then, and everybody waits for a tenth of a second (https://docs.python.org/3/library/gc.html#gc.freeze).
gc.collect()
gc.freeze()
