"""The sockets that `manage.py serve` accepts connections from: passed by systemd, or made by itself."""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from bambisleep import systemd

BACKLOG = 2048  # connections that wait to be accepted
Socket = socket.socket


class CannotListen(Exception):
    """Why, and what to do."""


def sockets(*, host: str, port: int, uds: str | None = None, fd: int | None = None) -> list[socket.socket]:
    """The sockets to accept connections from: those that systemd passes, else the one that is named.

    Args:
        uds: the path of a Unix socket, instead of host and port.
        fd: the number of an open, listening descriptor, instead of both.

    Raises:
        CannotListen: where it cannot be had.
    """
    if systemd.descriptors:
        return [_adopted(descriptor) for descriptor in systemd.descriptors]
    if fd is not None:
        return [_adopted(fd)]
    if uds is not None:
        return [_at_path(Path(uds))]
    return [_at_address(host, port)]


def _adopted(fd: int) -> socket.socket:
    try:
        found = socket.socket(fileno=fd)
        is_listening = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise CannotListen(f"Descriptor {fd} is no socket: {error.strerror}.") from None
    if found.type != socket.SOCK_STREAM or not is_listening:
        found.detach()
        raise CannotListen(f"Descriptor {fd} is no listening stream socket: `ListenStream=` in the socket's unit.")
    os.set_inheritable(fd, False)
    return found


def _at_address(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
    except OSError as error:
        raise CannotListen(
            f"{host} port {port} cannot be had: {error.strerror or error}. Choose another with --host and --port."
        ) from None
    return found


def _at_path(path: Path) -> socket.socket:
    """A Unix socket that everybody may connect to who may enter its directory."""
    found = socket.socket(socket.AF_UNIX)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX) as probe, suppress(ConnectionRefusedError):
                probe.connect(str(path))
                raise CannotListen(f"Another process listens on {path}: stop it, or choose another with --uds.")
            path.unlink()  # left behind by one that died
        found.bind(str(path))
        path.chmod(0o666)
        found.listen(BACKLOG)
    except OSError as error:
        raise CannotListen(f"{path} cannot be had: {error.strerror or error}.") from None
    return found
