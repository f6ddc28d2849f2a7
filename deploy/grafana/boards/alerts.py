"""What is firing or about to, from the series that Prometheus itself keeps of its alerts."""

from grafana_foundation_sdk.builders import table as tables

from .panels import GREEN, RED, YELLOW, Column, Query, table

LABELS = "alertname, severity, service, environment"


def alerts_now(id: int, matcher: str, *, of: str, width: int = 24, height: int = 6) -> tables.Panel:
    """A table of the alerts that match, those open longest first."""
    pending = f'max by ({LABELS}, alertstate) (ALERTS{{alertname!="Watchdog", {matcher}}})'
    age = f"time() - min by ({LABELS}) (ALERTS_FOR_STATE)"
    return table(
        id,
        "Alerts now",
        Query(f"{pending} * on ({LABELS}) group_left () ({age})"),
        [
            Column("alertname", "Alert"),
            Column("alertstate", "State", width=100),
            Column("severity", "Severity", width=100),
            Column("service", "Service"),
            Column("environment", "Environment"),
            Column("Value", "For", unit="s", steps=(GREEN, (0, YELLOW), (600, RED)), width=140),
        ],
        about=(
            f"Alerts about {of} that fire, or will if it stays like this (pending). Normal is none. Each has a runbook "
            "and a link to the panel that shows what it is about: follow them from the message in Slack or from "
            "Prometheus' own page of alerts."
        ),
        empty=f"No alert about {of}",
        sort="For",
        width=width,
        height=height,
    )
