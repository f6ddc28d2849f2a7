"""Prometheus' API, as far as it is needed."""

from typing import Any

from .web import NoAnswer, ask


class Refused(NoAnswer):
    """Prometheus does not take a query; the text is its own."""


def api(base: str, path: str, **query: str) -> Any:
    """The `data` of an answer.

    Raises:
        Refused: with what Prometheus says of a query that it does not take.
        NoAnswer: where there is no answer, or one that is not Prometheus'.
    """
    answer = ask(f"{base}/api/v1/{path}", query=query)
    found = answer.json()
    if not isinstance(found, dict) or "status" not in found:
        raise NoAnswer(f"{answer.url} answers {answer.status}, but not as Prometheus does")
    if found["status"] != "success":
        raise Refused(str(found.get("error", found)))
    return found["data"]


def series(base: str, promql: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each sample of an instant query."""
    found = api(base, "query", query=promql)["result"]
    return [(sample["metric"], float(sample["value"][1])) for sample in found]


def total(base: str, promql: str) -> float:
    """The sum of an instant query's samples; 0 where it has none."""
    return sum(value for _, value in series(base, promql))


def alert_states(base: str) -> dict[str, str]:
    """Of each alert that is pending or firing, by name: "firing" if one of its kind is."""
    found: dict[str, str] = {}
    for alert in api(base, "alerts")["alerts"]:
        name = alert["labels"]["alertname"]
        if found.get(name) != "firing":
            found[name] = alert["state"]
    return found
