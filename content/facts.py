"""Watch time as facts: beacons of one viewing reach different processes, and its last one may never come."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, Sum
from django.utils import timezone

from observability.facts import Sample, bucket_expression, fact, gauge, histogram

from .models import Viewing

# A viewing that was finished for less than that may still be changed by a beacon that is just being taken in.
SETTLING = timedelta(seconds=5)
ACTIVE = timedelta(minutes=1)
LEAST_SECONDS = 1.0  # less was played by mistake

DURATION = histogram(
    "video_stream_duration_seconds",
    "Finished viewings of films and recordings, by how long was really played; under a second does not count.",
    buckets=(10, 30, 60, 120, 300, 600, 1200, 1800, 2700, 3600, 5400, 7200, 10800, 14400),
)
STREAMS = gauge("video_streams_active", "Viewings whose player told of itself within the last minute.")


@fact(DURATION, reads=[Viewing], windowed=True)
def finished_viewings() -> Iterator[Sample]:
    """All that are over; they never change, so that the histogram only grows."""
    finished = Viewing.objects.finished(timezone.now() - SETTLING).filter(played_seconds__gte=LEAST_SECONDS)
    rows = finished.order_by().annotate(bucket=bucket_expression(DURATION, "played_seconds")).values_list("bucket")
    counts, seconds = [0] * (len(DURATION.buckets) + 1), 0.0
    for bucket, number, total in rows.annotate(number=Count("pk"), total=Sum("played_seconds")):
        counts[bucket] = number
        seconds += total
    yield DURATION.sample((counts, seconds))


@fact(STREAMS, reads=[Viewing], windowed=True)
def active_streams() -> Iterator[Sample]:
    """Those that are played now."""
    yield STREAMS.sample(Viewing.objects.filter(last_beacon_at__gte=timezone.now() - ACTIVE).count())
