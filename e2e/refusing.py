"""A site that refuses: a real nginx before it that answers one address by itself, with a status."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.nginx import TEMPORARY
from e2e.servers import Server, free_port, running


@contextmanager
def refusing(directory: Path, site: Server, path: str, status: int) -> Iterator[Server]:
    """Before `site` until the end of the block, all of its files in `directory`."""
    port = free_port()
    temporary = "\n".join(f"    {name}_temp_path {directory}/{name};" for name in TEMPORARY)
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"""
daemon off;
user {getpass.getuser()};
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 64; }}
http {{
{temporary}
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        location = {path} {{ return {status}; }}
        location / {{ proxy_pass http://127.0.0.1:{site.port}; proxy_set_header Host $host; }}
    }}
}}
"""
    )
    command = ["nginx", "-c", str(configuration), "-p", str(directory)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    with running(command, environment=environment, port=port, log=directory / "nginx.log", ready="/health") as server:
        yield server
