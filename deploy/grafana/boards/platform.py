"""The lower rows of the first dashboard: the host, and what keeps the house standing."""

from .panels import BLUE, GREEN, GREY, NAME, ORANGE, RED, YELLOW, Panel, Query, series, single, states
from .queries import RATE, fact, rate, select, since

NODE = 'job="node"'
DAY = 86_400
# File systems that hold no files of ours, and network devices that only pass on what another one counts.
DISKS = f'{NODE}, fstype!~"autofs|devtmpfs|erofs|fuse.*|iso9660|nsfs|overlay|ramfs|squashfs|tmpfs"'
DEVICES = f'{NODE}, device!~"lo|veth.*|br-.*|docker.*"'
NO_HOST = "The node exporter is not scraped"


def host() -> list[Panel]:
    """CPU, memory, disk and network of each host."""
    return [
        series(
            21,
            "CPU",
            Query(
                f'1 - avg by (instance) (rate(node_cpu_seconds_total{{{NODE}, mode="idle"}}[{RATE}]))', "{{instance}}"
            ),
            about=(
                "Share of all cores that is busy. Above 0.8 for long, requests wait for a turn: add processes or cores."
            ),
            unit="percentunit",
            empty=NO_HOST,
            limits=(GREEN, (0.8, ORANGE)),
            top=1,
            width=6,
        ),
        series(
            22,
            "Memory",
            Query(
                "1 - min by (instance) "
                f"(node_memory_MemAvailable_bytes{{{NODE}}} / node_memory_MemTotal_bytes{{{NODE}}})",
                "{{instance}}",
            ),
            about="Share of memory that is not available to programs. HostMemoryLow fires above 0.9 for ten minutes.",
            unit="percentunit",
            empty=NO_HOST,
            limits=(GREEN, (0.9, RED)),
            top=1,
            width=6,
        ),
        series(
            23,
            "Disk",
            Query(
                "1 - min by (instance, mountpoint) "
                f"(node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{NODE}}})",
                "{{instance}} {{mountpoint}}",
            ),
            about=(
                "Share of each disk that is full. DiskFillingUp fires above 0.9, or above 0.75 if at this pace it is "
                "full within a day."
            ),
            unit="percentunit",
            empty="No disk of the host is seen",
            limits=(GREEN, (0.75, YELLOW), (0.9, RED)),
            top=1,
            width=6,
        ),
        series(
            24,
            "Network",
            [
                Query(
                    f"sum by (instance) (rate(node_network_receive_bytes_total{{{DEVICES}}}[{RATE}]))",
                    "{{instance}} in",
                ),
                Query(
                    f"sum by (instance) (rate(node_network_transmit_bytes_total{{{DEVICES}}}[{RATE}]))",
                    "{{instance}} out",
                ),
            ],
            about="Bytes a second received (above) and sent (below), without the host's talk to itself and containers.",
            unit="Bps",
            empty="No network device of the host is seen",
            zero=False,
            below=".* out$",
            width=6,
        ),
    ]


def platform() -> list[Panel]:
    """Facts, database, notifications, certificate, backup, and alerting itself."""
    backup = fact("maintenance_last_success_timestamp_seconds", 'task="backup"')
    others = fact("maintenance_last_success_timestamp_seconds", 'task!="backup"')
    database = select("bambisleep_collector_up", 'collector="facts"')
    return [
        states(
            31,
            "Facts and database",
            [
                Query(f"min({database})", "database"),
                Query(f"max({select('bambisleep_facts_age_seconds')}) <= bool 120", "facts fresh"),
                Query(f"min by (fact) ({select('bambisleep_fact_up')})", "{{fact}}"),
            ],
            about=(
                "Whether the database answers the scrape, whether facts are brought up to date (at most 120 s old), "
                "and whether each fact can be computed. A failing fact keeps its last values: what it draws is old. "
                "See the line fact_failed in the log (FactFailing, FactsStale, DatabaseNotReady)."
            ),
            empty="The application is not scraped",
            words={"1": ("ok", GREEN), "0": ("failing", RED)},
            width=12,
            height=9,
        ),
        series(
            32,
            "Notifications",
            [
                Query(
                    "sum by (integration) (rate(alertmanager_notification_requests_total"
                    f'{{job="alertmanager"}}[{RATE}]))',
                    "{{integration}}",
                ),
                Query(
                    "sum by (integration) (rate(alertmanager_notification_requests_failed_total"
                    f'{{job="alertmanager"}}[{RATE}])) > 0',
                    "{{integration}} failed",
                ),
            ],
            about=(
                "What Alertmanager sends, a second, and what is refused. Failures mean that alerts do not arrive "
                "(NotificationsFailing): see Alertmanager's log, then the webhook's URL."
            ),
            unit="reqps",
            empty="Alertmanager is not scraped",
            colours={"failed$": RED},
            width=12,
            height=9,
        ),
        single(
            35,
            "Alerting",
            Query('max(ALERTS{alertname="Watchdog", alertstate="firing"})'),
            about=(
                "The Watchdog is an alert that always fires. Where it does not, the rules are not loaded or not "
                "evaluated, and no other alert will come either."
            ),
            unit="none",
            empty="The Watchdog is silent",
            steps=(RED, (1, GREEN)),
            words={"1": ("Working", GREEN)},
        ),
        single(
            34,
            "Last backup",
            Query(since(f"max({backup})")),
            about=(
                "How long ago the last backup succeeded. BackupOverdue fires after 26 hours: see the log of its timer."
            ),
            unit="s",
            empty="Backups do not report yet",
            steps=(GREEN, (DAY, YELLOW), (26 * 3600, RED)),
        ),
        single(
            36,
            "Last clean-up",
            Query(since(f"max by (task) ({others})"), "{{task}}"),
            about=(
                "How long ago each of the other periodic tasks succeeded. Normal is less than a day or so. "
                "MaintenanceOverdue fires after three."
            ),
            unit="s",
            empty="Tasks do not report yet",
            steps=(GREEN, (2 * DAY, YELLOW), (3 * DAY, RED)),
        ),
        single(
            33,
            "Certificate",
            Query('min by (instance) (last_over_time(probe_ssl_earliest_cert_expiry{job="certificate"}[1h])) - time()'),
            about=(
                "How long the TLS certificate still lasts. Renewal begins 30 days before its end; CertificateExpiring "
                "fires at 14 days, and is critical at 3. Where the site gives no good answer at all, SiteUnreachable "
                "does."
            ),
            unit="s",
            empty="No certificate is watched",
            steps=(RED, (3 * DAY, ORANGE), (14 * DAY, GREEN)),
        ),
        single(
            37,
            "Version",
            Query(f"max by (version, revision) ({select('bambisleep_build_info')})", "{{version}} {{revision}}"),
            about="Which build runs. Two at once for longer than a deployment takes: a process was not restarted.",
            unit="none",
            empty="The application is not scraped",
            steps=(BLUE,),
            text=NAME,
        ),
        single(
            38,
            "Migrations not applied",
            Query(f"max({select('django_migrations_unapplied_total')})"),
            about=(
                "Migrations that this build brings and the database has not seen. Normal is 0: run `manage.py migrate`."
            ),
            unit="none",
            empty="The application is not scraped",
            steps=(GREEN, (1, RED)),
        ),
    ]


def processes() -> list[Panel]:
    """What the application's own processes use."""
    return [
        series(
            41,
            "Memory of processes",
            Query(select("process_resident_memory_bytes"), "{{instance}}"),
            about="Resident memory of each process. A slope that no restart ends is a leak.",
            unit="bytes",
            empty="The application is not scraped",
            width=8,
        ),
        series(
            42,
            "CPU of processes",
            Query(f"rate({select('process_cpu_seconds_total')}[{RATE}])", "{{instance}}"),
            about="Cores that each process uses. One Python process cannot use much more than 1: add processes.",
            unit="none",
            empty="The application is not scraped",
            decimals=2,
            limits=(GREEN, (0.9, ORANGE)),
            width=8,
        ),
        series(
            43,
            "Open files",
            Query(f"{select('process_open_fds')} / {select('process_max_fds')}", "{{instance}}"),
            about=(
                "Share of each process's file descriptors in use: connections, files, sockets. At 1 it accepts no more."
            ),
            unit="percentunit",
            empty="The application is not scraped",
            limits=(GREEN, (0.8, RED)),
            width=8,
        ),
    ]


def database() -> list[Panel]:
    """What the application sees of its database."""
    duration = "django_db_query_duration_seconds_bucket"
    return [
        series(
            51,
            "Queries",
            Query(rate("django_db_execute_total", by="alias"), "{{alias}}"),
            about="Queries a second, by database. Growing faster than requests: a page asks once for each row.",
            unit="ops",
            empty="No query in this window",
            width=8,
        ),
        series(
            52,
            "Query duration",
            [
                Query(f"histogram_quantile(0.5, {rate(duration, by='le')})", "p50"),
                Query(f"histogram_quantile(0.95, {rate(duration, by='le')})", "p95"),
            ],
            about="How long queries take. If p95 climbs together with the latency of requests, look here first.",
            unit="s",
            empty="No query in this window",
            colours={"^p50$": GREEN, "^p95$": YELLOW},
            width=8,
        ),
        series(
            53,
            "Database errors and connections",
            [
                Query(rate("django_db_new_connections_total"), "new connections"),
                Query(f"{rate('django_db_errors_total')} or 0 * {rate('django_db_execute_total')}", "errors"),
            ],
            about="New connections and errors a second. Connections should be rare (a pool keeps them), errors none.",
            unit="ops",
            empty="No query in this window",
            colours={"^errors$": RED, "^new connections$": GREY},
            width=8,
        ),
    ]
