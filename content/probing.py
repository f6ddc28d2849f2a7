"""What ffprobe says of a film or recording: its streams, duration, the film's size. Without it, none of that is known.

The file is a stranger's and ffprobe a large program in C: it gets one file and one demuxer, follows no reference and
no playlist, and is bounded in time, memory, files and output.
"""

import json
import math
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from .formats import Container, Inspected, NotExamined, Refused
from .models import FileKind

SECONDS = 20  # of a processor, which no good file takes
PATIENCE_SECONDS = 50  # on the clock, which is a busy machine's fault; nginx waits for 60
MEMORY_BYTES = 2 * 2**30  # of address space, most of it libraries
OUTPUT_BYTES = 2**20
MOST_STREAMS = 32
MOST_SIDE = 16_384  # pixels
SHOWN = (
    "format=duration:stream=codec_type,codec_name,width,height,duration:stream_disposition=attached_pic:"
    "stream_side_data=rotation"
)


def is_present() -> bool:
    """Whether there is an ffprobe to ask."""
    return shutil.which("ffprobe") is not None


def probe(path: Path, container: Container) -> Inspected:
    """Look inside.

    Raises:
        Refused: it cannot be read as that container, holds neither sound nor film, or what browsers do not play.
        NotExamined: this machine came to no answer.
    """
    told = _ask(path, container)
    streams = [stream for stream in told.get("streams", []) if isinstance(stream, dict)]
    films = [stream for stream in streams if stream.get("codec_type") == "video" and not _is_cover(stream)]
    sounds = [stream for stream in streams if stream.get("codec_type") == "audio"]
    if not films and not sounds:
        raise Refused(f"This {container.name} file holds neither sound nor film.")
    if films and container.video is None:
        raise Refused(f"This {container.name} file holds a film, where sound alone belongs.")
    strange = {str(stream.get("codec_name", "?")) for stream in films + sounds} - container.codecs
    if strange:
        raise Refused(
            f"This {container.name} file holds {', '.join(sorted(strange))}, which browsers do not play there. Make an "
            "MP4 with H.264 and AAC of it, for example by `ffmpeg -i the-file -c:v libx264 -c:a aac film.mp4`."
        )
    lengths = [told.get("format", {}).get("duration"), *(stream.get("duration") for stream in films + sounds)]
    duration = next((seconds for length in lengths if (seconds := _seconds(length)) is not None), None)
    if not films:
        return container.inspected(FileKind.AUDIO, duration)
    return container.inspected(FileKind.VIDEO, duration, *_size(films[0]))


def _ask(path: Path, container: Container) -> dict[str, Any]:
    command = ["ffprobe", "-v", "quiet", "-protocol_whitelist", "file", "-format_whitelist", _formats(container)]
    command += ["-max_streams", str(MOST_STREAMS), "-f", container.demuxer, "-show_entries", SHOWN, "-of", "json"]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*command, f"file:{path.absolute()}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
        )
        try:
            _bound(process.pid)
            status = process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        output.seek(0)
        text = output.read(OUTPUT_BYTES)
    if status == -signal.SIGKILL:  # by us, or by the kernel, which had no memory left
        raise NotExamined("This machine has too much to do to look at the file. It is kept as it is: try again later.")
    if status == -signal.SIGXCPU:
        raise Refused(f"This {container.name} file could not be read in {SECONDS} seconds.")
    try:
        told = json.loads(text) if status == 0 else None
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Refused(f"This file begins like {container.name}, and cannot be read as such. It was damaged.")
    return told


def _formats(container: Container) -> str:
    """ffprobe's full name of a demuxer, by which its list of allowed ones knows it."""
    return {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm"}.get(container.demuxer, container.demuxer)


def _bound(pid: int) -> None:
    """Set what the process may take; it may be over already."""
    with suppress(ProcessLookupError):
        for what, most in (
            (resource.RLIMIT_AS, MEMORY_BYTES),
            (resource.RLIMIT_FSIZE, OUTPUT_BYTES),
            (resource.RLIMIT_NOFILE, 64),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.prlimit(pid, what, (most, most))
        resource.prlimit(pid, resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))  # SIGXCPU, and only then SIGKILL
        os.setpriority(os.PRIO_PROCESS, pid, 10)


def _is_cover(stream: dict[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _seconds(text: Any) -> float | None:
    try:
        seconds = float(text)
    except (TypeError, ValueError):
        return None
    return round(seconds, 3) if math.isfinite(seconds) and 0 < seconds < 10_000_000 else None


def _size(stream: dict[str, Any]) -> tuple[int | None, int | None]:
    """Width and height as shown: a telephone's film may be stored lying on its side."""
    width, height = stream.get("width"), stream.get("height")
    if not (isinstance(width, int) and isinstance(height, int) and 0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE):
        return None, None
    turned = any(abs(int(data.get("rotation", 0))) % 180 == 90 for data in stream.get("side_data_list", []))
    return (height, width) if turned else (width, height)
