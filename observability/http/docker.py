"""Where containers on this machine reach it. Imported by the settings, so it imports nothing of Django."""

import socket
import struct

SIOCGIFADDR = 0x8915  # Linux: the address of a network interface


def bridge_address(interface: str = "docker0") -> list[str]:
    """The docker bridge's own IPv4 address, as a list of one; empty where there is none (macOS, Windows, no docker)."""
    try:
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            request = struct.pack("256s", interface.encode()[:15])
            return [socket.inet_ntoa(fcntl.ioctl(probe.fileno(), SIOCGIFADDR, request)[20:24])]
    except (OSError, ImportError):
        return []
