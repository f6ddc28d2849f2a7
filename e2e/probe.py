"""The application, with an address that tells how many tasks run: for a test that asks whether one is left."""

import asyncio
import json
from typing import Any

from bambisleep.asgi import application as whole

PATH = "/-/tasks"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer PATH with the names of the tasks' coroutines; hand everything else on."""
    if scope["type"] != "http" or scope["path"] != PATH:
        await whole(scope, receive, send)
        return
    names = sorted(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(names).encode()})
