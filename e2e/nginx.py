"""nginx before several processes: the repository's own http.conf and site.conf, in a server of the tests' own."""

import getpass
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from e2e.servers import PRODUCTION, ROOT, Installation, Server, free_port, running

DEPLOYED = ROOT / "deploy" / "nginx"
BEHIND_NGINX = {**PRODUCTION, "TRUSTED_PROXIES": "1"}
ACCELERATED = {"LIBRARY_ACCEL_LOCATION": "/_library/"}
OPENLY = "/open-library/"
SPEAKS_FOR_OTHERS = "127.0.0.99"  # whose header X-Other-Address nginx believes: for addresses that nobody has here
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def process_on(installation: Installation, port: int, *, server: str = "daphne", **settings: str) -> Iterator[Server]:
    """One of an installation's processes behind nginx, on a given port, where another can take its place."""
    application = "bambisleep.asgi:application"
    arguments = {
        "daphne": ["daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", application],
        "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log", application],
    }
    environment = installation.environment(PORT=str(port), **BEHIND_NGINX, **settings)
    log = installation.data_dir / f"{server}-{port}-{free_port()}.log"
    command = [sys.executable, "-m", *arguments[server]]
    with running(command, environment=environment, port=port, log=log, ready="/health") as process:
        yield process


@contextmanager
def nginx(
    directory: Path, processes: Sequence[Server], *, library: Path | None = None, openly: bool = False
) -> Iterator[Server]:
    """A real nginx before `processes`, with all of its files in `directory`.

    Args:
        library: the processes' LIBRARY_DIR, where they run with `ACCELERATED`.
        openly: whether nginx also serves it to everybody below `OPENLY`, by the very directives by which it does so for
            the application: what ours can be compared with.
    """
    port = free_port()
    (directory / "bambisleep").symlink_to(DEPLOYED)
    more = f"set $library_directory {library or directory / 'library'};\n{_open_library() if openly else ''}"
    configuration = directory / "nginx.conf"
    configuration.write_text(_configuration(directory, port, [process.port for process in processes], more))
    command = ["nginx", "-c", str(configuration), "-p", str(directory)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    log = directory / "nginx.log"
    with running(command, environment=environment, port=port, log=log, ready="/health/live") as server:
        yield server


def _open_library() -> str:
    """The location of the library, but open to everybody."""
    site = (DEPLOYED / "site.conf").read_text()
    location = re.search(r"^location /_library/ \{.*?^\}", site, re.MULTILINE | re.DOTALL)
    assert location
    return location[0].replace("/_library/", OPENLY).replace("internal;", "")


def _configuration(directory: Path, port: int, upstream: Sequence[int], more: str) -> str:
    temporary = "\n".join(f"    {name}_temp_path {directory}/{name};" for name in TEMPORARY)
    servers = " ".join(f"server 127.0.0.1:{number} fail_timeout=1s;" for number in upstream)
    sockets = " ".join(f"server 127.0.0.1:{number} max_fails=0;" for number in upstream)
    return f"""
daemon off;
user {getpass.getuser()};
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
{temporary}
    include {DEPLOYED}/http.conf;
    upstream bambisleep {{ zone bambisleep 64k; least_conn; {servers} keepalive 32; keepalive_timeout 4s; }}
    upstream bambisleep_sockets {{ zone bambisleep_sockets 64k; least_conn; {sockets} }}
    log_format sent '$http_x_request_id $status $upstream_bytes_sent';
    access_log {directory}/access.log bambisleep;
    access_log {directory}/sent.log sent;
    server {{
        listen 127.0.0.1:{port} default_server;
        server_name localhost;
        set_real_ip_from {SPEAKS_FOR_OTHERS};
        real_ip_header X-Other-Address;
        {more}
        include {DEPLOYED}/site.conf;
    }}
}}
"""
