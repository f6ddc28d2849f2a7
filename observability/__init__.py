"""The ground floor: metrics, facts, health, logs, problems and the HTTP edge. It knows no other app by name."""

from prometheus_client import disable_created_metrics

# Before the first metric is made anywhere: `_created` series double the number of counters and say nothing we use.
disable_created_metrics()  # type: ignore[no-untyped-call]
