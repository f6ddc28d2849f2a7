"""Files for tests: real ones, made here, and such as somebody might make who means harm."""

import io
import struct
import subprocess
import wave
import zlib
from functools import cache
from pathlib import Path

from PIL import Image

from content import demo

FILM = demo.FILM.read_bytes()  # an MP4, made by ffmpeg


def recording(seconds: float = 1.0) -> bytes:
    """A WAV of silence."""
    output = io.BytesIO()
    with wave.open(output, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(int(seconds * 8000) * 2))
    return output.getvalue()


def picture(format: str = "PNG", size: tuple[int, int] = (64, 36), **more: object) -> bytes:
    """A plain picture."""
    output = io.BytesIO()
    Image.new("RGB", size, (90, 60, 160)).save(output, format, **more)
    return output.getvalue()


@cache
def made_by_ffmpeg(*arguments: str, format: str) -> bytes:
    """What ffmpeg makes of a second of a test picture and a tone: made_by_ffmpeg("-c:a", "libopus", format="webm")."""
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=128x72:rate=10:duration=1"]
    command += ["-f", "lavfi", "-i", "sine=duration=1", *arguments, "-f", format, "pipe:1"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def png_bomb(side: int = 50_000) -> bytes:
    """A PNG of few bytes and very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    row = zlib.compress(bytes(1 + (side + 7) // 8) * 200, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def put(directory: Path, content: bytes, name: str = "sample") -> Path:
    """Write it down."""
    path = directory / name
    path.write_bytes(content)
    return path
