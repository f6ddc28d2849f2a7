"""The library of the story: a film and a text for everyone, another for members, and strangers who come by."""

import re
import time

from e2e.library import in_library
from e2e.servers import Installation, Server, wait_for

SETTINGS = {"VIEWING_IDLE_SECONDS": "3"}
_TOLD = re.compile(r'data-token="([^"]+)" data-beacons="([^"]+)"')


def fill(installation: Installation) -> None:
    """What there is, before the site starts."""
    in_library(installation, "rows.film(slug='film'); rows.item(slug='text'); rows.members_item(slug='for-members')")


def is_visited(site: Server) -> None:
    """Pages are opened, one of them is refused, and a film is watched for a moment and left; until that is a fact."""
    for slug in ("text", "text", "for-members"):
        assert site.http.get(f"/content/{slug}/").status_code == 200
    page = site.http.get("/content/film/").text
    found = _TOLD.search(page)
    assert found, page
    token, address = found.groups()
    started = time.monotonic()
    for sequence in (1, 2):
        wait_for(lambda sequence=sequence: time.monotonic() - started > sequence, "the film is played")  # type: ignore[misc]
        played = time.monotonic() - started
        beacon = {"token": token, "sequence": sequence, "played": played, "position": played}
        assert site.http.post(address, json=beacon).json() == {"accepted": True}
    wait_for(lambda: site.metric("video_stream_duration_seconds_count") == 1, "the viewing is counted", seconds=60)
