"""The PromQL that the dashboards speak: events are summed over processes, facts are the same in all of them.

Every function returns an expression as text. `matchers` are label matchers as PromQL writes them (`type="login"`), `by`
the labels that remain. Grafana fills in `$job`, `$__rate_interval` and `$__range`.
"""

JOB = 'job=~"$job"'
RATE = "$__rate_interval"
RANGE = "$__range"


def select(metric: str, *matchers: str) -> str:
    """The series of the application's `metric`."""
    return f"{metric}{{{', '.join((JOB, *matchers))}}}"


def total(expression: str, by: str = "") -> str:
    """The sum of an expression, by labels where they are named."""
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def rate(counter: str, *matchers: str, by: str = "") -> str:
    """An event counter's growth a second, summed over the processes."""
    return total(f"rate({select(counter, *matchers)}[{RATE}])", by)


def increase(counter: str, *matchers: str, by: str = "", window: str = RANGE) -> str:
    """An event counter's growth in `window`, summed over the processes."""
    return total(f"increase({select(counter, *matchers)}[{window}])", by)


def quantile(q: float, histogram: str, *matchers: str, by: str = "") -> str:
    """A quantile of an event histogram, over all processes."""
    return f"histogram_quantile({q}, {buckets(histogram, *matchers, by=by)})"


def buckets(histogram: str, *matchers: str, by: str = "") -> str:
    """The growth a second of an event histogram's buckets: what a heatmap draws."""
    return rate(f"{histogram}_bucket", *matchers, by=", ".join(filter(None, ("le", by))))


def fact(metric: str, *matchers: str) -> str:
    """A fact, which every process shows alike: one series of it, never their sum."""
    return f"max without (instance, pod) ({select(metric, *matchers)})"


def recorded(counter: str, *matchers: str, by: str = "", window: str = RANGE) -> str:
    """A fact counter's growth in `window`: over the recorded series, which outlives the processes."""
    return total(f"increase({select(f'fact:{counter}', *matchers)}[{window}])", by)


def or_zero(expression: str) -> str:
    """0 where there is no series, for what is rightly 0 then."""
    return f"({expression}) or vector(0)"


def share(part: str, whole: str, *, by: str = "") -> str:
    """`part` ÷ `whole`, from 0 to 1: 0 where there is a whole without a part, nothing where there is no whole.

    With labels, both are to have been summed `by` the same ones; part is filled up from the whole's own label sets.
    """
    filled = f"({part} or 0 * {whole})" if by else f"({or_zero(part)})"
    return f"{filled} / ({whole} > 0)"


def since(timestamp: str) -> str:
    """Seconds from a moment in Unix time until now."""
    return f"time() - {timestamp}"
