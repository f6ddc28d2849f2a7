"""What the monitoring draws and watches already, though the room that will tell of it does not stand yet.

Tests that demand live data leave out the queries that name one of these; another fails once a listed metric is there.
"""

TO_COME: dict[str, tuple[str, ...]] = {
    "content": ("content_", "video_"),
    "realtime": ("websocket_", 'alertname=~"WebSocket'),  # the last: the table of its alerts
    "operations": ("maintenance_",),
}
# Told by an exporter that is asked for (`--profile certificate`), not by default.
OPT_IN: tuple[str, ...] = ("probe_",)


def is_to_come(text: str) -> bool:
    """Whether a query or a metric's name speaks of a room that does not stand yet, or of what is opt-in."""
    prefixes = [*OPT_IN, *(prefix for names in TO_COME.values() for prefix in names)]
    return any(prefix in text for prefix in prefixes)
