"""nginx-tls.conf as deployed, before a process of the tests' own, with a certificate that nobody signed."""

import getpass
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.nginx import DEPLOYED, TEMPORARY
from e2e.servers import Server, free_port, running

NAME = "members.example"


@dataclass(frozen=True, slots=True)
class Door:
    """nginx on two ports; `directory` has its files, and its certificate."""

    plain: Server
    tls_port: int
    directory: Path

    @property
    def certificate(self) -> Path:
        """What clients have to trust."""
        return self.directory / "tls" / "fullchain.pem"

    def connection(
        self, *protocols: str, name: str | None = NAME, context: ssl.SSLContext | None = None
    ) -> ssl.SSLSocket:
        """A TLS connection, verified, that asks for `name` and speaks one of `protocols`."""
        context = context or ssl.create_default_context(cafile=str(self.certificate))
        context.set_alpn_protocols(list(protocols) or ["http/1.1"])
        context.check_hostname = name is not None
        plain = socket.create_connection(("127.0.0.1", self.tls_port), timeout=20)
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def say(self, request: str) -> bytes:
        """All that comes back over TLS until the server closes; ask it to in `request`."""
        received = bytearray()
        with closing(self.connection()) as connection:
            connection.sendall(request.replace("\n", "\r\n").encode("latin-1"))
            while block := connection.recv(65_536):
                received += block
        return bytes(received)


def make_certificate(directory: Path, name: str = NAME) -> None:
    """A key and a certificate for `name`, as DEPLOYMENT.md makes the first one."""
    directory.mkdir(parents=True, exist_ok=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", "privkey.pem"]
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    command = ["openssl", "req", "-x509", *key, *names, "-days", "30", "-out", "fullchain.pem"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)


@contextmanager
def nginx_with_tls(directory: Path, process: Server, *, library: Path) -> Iterator[Door]:
    """The deployed configuration; nothing is changed but ports, the user, where files lie, and the processes."""
    make_certificate(directory / "tls")
    configuration = directory / "nginx.conf"
    plain, tls = free_port(), free_port()
    _lay_out(directory / "bambisleep", process.port)
    text = (DEPLOYED / "nginx-tls.conf").read_text()
    for deployed, here in (
        ("user www-data;", f"user {getpass.getuser()};\ndaemon off;"),
        ("/run/", f"{directory}/"),
        ("/var/log/nginx/", f"{directory}/"),
        ("/etc/bambisleep/tls/", f"{directory}/tls/"),
        ("/var/lib/letsencrypt", str(directory / "acme")),
        ("/var/lib/bambisleep/library", str(library)),
        ("listen 80 ", f"listen 127.0.0.1:{plain} "),
        ("listen 443 ", f"listen 127.0.0.1:{tls} "),
        ("worker_processes auto;", "worker_processes 1;"),
        ("http {", "http {\n" + "\n".join(f"{kind}_temp_path {directory}/{kind};" for kind in TEMPORARY)),
    ):
        assert deployed in text, deployed
        text = text.replace(deployed, here)
    configuration.write_text(re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.MULTILINE))
    command = ["nginx", "-c", str(configuration), "-p", str(directory), "-e", str(directory / "error.log")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    (directory / "acme" / ".well-known" / "acme-challenge").mkdir(parents=True)
    challenge = directory / "acme" / ".well-known" / "acme-challenge" / "ready"
    challenge.write_text("the answer")
    ready = "/.well-known/acme-challenge/ready"
    with running(command, environment=environment, port=plain, log=directory / "nginx.log", ready=ready) as server:
        yield Door(server, tls, directory)


def _lay_out(target: Path, port: int) -> None:
    """The directory that the configuration includes, with another list of processes."""
    target.mkdir()
    for path in DEPLOYED.iterdir():
        if path.name == "upstream.conf":
            upstream = re.sub(r"^ *server .*\n", "", path.read_text(), flags=re.MULTILINE)
            upstream = upstream.replace("least_conn;", f"least_conn;\n    server 127.0.0.1:{port};")
            (target / path.name).write_text(upstream)
        else:
            (target / path.name).symlink_to(path)
