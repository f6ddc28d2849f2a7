"""WebSocket Metrics: is the chat connected, does it talk, and why do people leave."""

from .alerts import alerts_now
from .frame import Board, Row, board
from .panels import BLUE, GREEN, ORANGE, RED, YELLOW, Column, Panel, Query, heat, series, single, table
from .queries import buckets, increase, or_zero, quantile, rate, select, share

# A gauge, for all its name: never a rate of it.
CONNECTIONS = "websocket_connections_total"
MESSAGES, SENT = "websocket_messages_total", "websocket_messages_sent_total"
DISCONNECTS, AUTH, SECONDS = "websocket_disconnects_total", "websocket_auth_total", "websocket_message_duration_seconds"
UNSCRAPED = "No process is scraped"
SILENT = "No message in this window"
LATENCY = (GREEN, (0.1, YELLOW), (0.5, RED))


def build() -> Board:
    """The dashboard, as Grafana reads it."""
    return board(
        "bambisleep-websocket",
        "WebSocket Metrics",
        "Connections of the chat, their messages, and how they begin and end.",
        [
            Row("", [*_headline(), alerts_now(110, 'alertname=~"WebSocket.*"', of="the chat", height=5)]),
            Row("Connections", _connections()),
            Row("Messages", _messages()),
        ],
        last="3h",
    )


def _headline() -> list[Panel]:
    return [
        single(
            101,
            "Connections",
            Query(f"sum({select(CONNECTIONS)})"),
            about="Sockets that are open now, all processes together.",
            unit="none",
            empty=UNSCRAPED,
            steps=(BLUE,),
            sparkline=True,
        ),
        single(
            102,
            "Against the last half-hour",
            Query(f"sum({select(CONNECTIONS)}) / (avg_over_time(sum({select(CONNECTIONS)})[30m:1m]) > 0)"),
            about="Connections now ÷ their mean of half an hour. Below one half, WebSocketConnectionDrop fires.",
            unit="percentunit",
            empty="No connection lately",
            steps=(RED, (0.5, YELLOW), (0.8, GREEN)),
            decimals=0,
        ),
        single(
            103,
            "Messages received",
            Query(or_zero(rate(MESSAGES))),
            about="Messages a second from clients, of every type.",
            unit="mps",
            empty=UNSCRAPED,
            steps=(BLUE,),
            sparkline=True,
        ),
        single(
            104,
            "Messages not understood",
            Query(share(rate(MESSAGES, 'type="invalid"'), rate(MESSAGES))),
            about=(
                "Share of received messages that were invalid. More than a few: an old client, or somebody who tries "
                "things."
            ),
            unit="percentunit",
            empty=SILENT,
            steps=(GREEN, (0.01, YELLOW), (0.1, RED)),
            decimals=1,
        ),
        single(
            105,
            "p95 of a message",
            Query(quantile(0.95, SECONDS)),
            about="Nineteen of twenty messages are dealt with faster than this.",
            unit="s",
            empty=SILENT,
            steps=LATENCY,
        ),
        single(
            106,
            "Disconnects",
            Query(f"round({increase(DISCONNECTS)})"),
            about="Connections that ended in the whole window, for whatever reason.",
            unit="none",
            empty=UNSCRAPED,
            steps=(BLUE,),
        ),
    ]


def _connections() -> list[Panel]:
    return [
        series(
            11,
            "Connections",
            [
                Query(f"sum({select(CONNECTIONS)})", "now"),
                Query(f"avg_over_time(sum({select(CONNECTIONS)})[30m:1m])", "mean of half an hour"),
                Query(f"0.5 * avg_over_time(sum({select(CONNECTIONS)})[30m:1m])", "alert"),
            ],
            about=(
                "WebSocketConnectionDrop fires where half of the half-hour's mean is gone, of ten or more, unless a "
                "process was just started. Look at the proxy, then at the reasons of disconnecting."
            ),
            unit="none",
            empty=UNSCRAPED,
            colours={"^now$": GREEN, "^mean": BLUE, "^alert$": RED},
            decimals=0,
        ),
        series(
            111,
            "Connections by process",
            Query(f"sum by (instance) ({select(CONNECTIONS)})", "{{instance}}"),
            about="Where the sockets are. One process with most of them: the proxy does not spread them.",
            unit="none",
            empty=UNSCRAPED,
            stacked=True,
            decimals=0,
        ),
        series(
            112,
            "Disconnects by reason",
            Query(rate(DISCONNECTS, by="reason"), "{{reason}}"),
            about=(
                "Connections that end, a second, by reason. A burst of one reason at a deployment mark is that restart."
            ),
            unit="cps",
            empty=UNSCRAPED,
            stacked=True,
        ),
        series(
            113,
            "Authentication by outcome",
            Query(rate(AUTH, by="outcome"), "{{outcome}}"),
            about=(
                "Sockets that prove who they are, a second, by outcome; a guest reads an open room. Failures only: "
                "tokens expired, or a clock is wrong."
            ),
            unit="cps",
            empty=UNSCRAPED,
            stacked=True,
            colours={"^success$": GREEN},
        ),
    ]


def _messages() -> list[Panel]:
    return [
        series(
            121,
            "Messages received by type",
            Query(rate(MESSAGES, by="type"), "{{type}}"),
            about="Messages a second from clients. invalid is what we could not read.",
            unit="mps",
            empty=UNSCRAPED,
            stacked=True,
            colours={"^invalid$": RED},
            width=8,
        ),
        series(
            122,
            "Messages sent by type",
            Query(rate(SENT, by="type"), "{{type}}"),
            about="Messages a second to clients: each message of the chat, times those in its room.",
            unit="mps",
            empty=UNSCRAPED,
            stacked=True,
            width=8,
        ),
        series(
            123,
            "Duration of a message",
            [
                Query(quantile(0.5, SECONDS), "p50"),
                Query(quantile(0.95, SECONDS), "p95"),
                Query(quantile(0.99, SECONDS), "p99"),
            ],
            about=(
                "From a message's arrival until it is dealt with. Climbing for all types: Redis or the database is "
                "slow."
            ),
            unit="s",
            empty=SILENT,
            limits=(GREEN, (0.5, RED)),
            colours={"^p50$": GREEN, "^p95$": YELLOW, "^p99$": ORANGE},
            width=8,
        ),
        heat(
            124,
            "Durations",
            Query(buckets(SECONDS), "{{le}}"),
            about="How many messages a second fall into each bucket of duration.",
            unit="s",
            empty=SILENT,
        ),
        table(
            125,
            "Messages in this window",
            [
                Query(f"round({increase(MESSAGES, by='type')})"),
                Query(f"{quantile(0.95, SECONDS, by='type')} >= 0"),
            ],
            [
                Column("type", "Type"),
                Column("Value #A", "Received", unit="short", decimals=0, width=120),
                Column("Value #B", "p95 now", unit="s", steps=LATENCY, width=120),
            ],
            about="How many messages of each type came, and how long nineteen of twenty take just now.",
            empty=UNSCRAPED,
            sort="Received",
        ),
    ]
