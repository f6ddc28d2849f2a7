"""What the monitoring draws and watches only where somebody asked for it, so that no test demands data of it."""

OPT_IN = ("probe_", 'job="certificate"')  # `--profile certificate`


def is_opt_in(text: str) -> bool:
    """Whether a query or a metric's name speaks of what is opt-in."""
    return any(prefix in text for prefix in OPT_IN)
