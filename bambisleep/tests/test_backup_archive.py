"""The archive's form: readable by others' tools, and refused where a single byte of it is not what was written."""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from bambisleep.backups.archive import MANIFEST, SUMS, Reader, Writer
from bambisleep.backups.errors import Damaged

pytestmark = pytest.mark.once

CONTENTS = {
    MANIFEST: b'{"format": 1}',
    "database/dump.000001": b"rows and rows" * 20,
    "library/ab/abcd.mp4": b"\x00film\xff" * 100,
    "library/cd/cdef.png": b"",
}


def written(contents: dict[str, bytes] = CONTENTS) -> bytes:
    """An archive of these."""
    stream = io.BytesIO()
    writer = Writer(stream, at=1_790_000_000)
    for name, content in contents.items():
        writer.add(name, len(content), io.BytesIO(content))
    writer.close()
    return stream.getvalue()


def read(archive: bytes) -> dict[str, bytes]:
    """Its members; raises Damaged unless it is whole."""
    return {member.name: b"".join(member.blocks()) for member in Reader(io.BytesIO(archive))}


def forged(*members: tarfile.TarInfo, form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar file as others make them, with a manifest and then these."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for found in (tarfile.TarInfo(MANIFEST), *members):
            found.mode, found.mtime = 0o600, 1_790_000_000
            tar.addfile(found, io.BytesIO(bytes(found.size)))
    return stream.getvalue()


def test_what_was_written_comes_back() -> None:
    assert read(written()) == CONTENTS


def test_others_tools_read_it_and_check_its_hashes(tmp_path: Path) -> None:
    (tmp_path / "backup.tar").write_bytes(written())
    subprocess.run(["tar", "-xf", "backup.tar"], cwd=tmp_path, check=True)
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", SUMS], cwd=tmp_path, check=True)
    assert {name: (tmp_path / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert (tmp_path / "library/ab/abcd.mp4").stat().st_mode & 0o777 == 0o600


def test_every_single_byte_that_is_altered_is_found() -> None:
    whole = written()
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= 1 << place % 8
        with pytest.raises(Damaged):
            read(bytes(altered))


def test_it_is_known_as_cut_wherever_it_was_cut_and_when_something_follows() -> None:
    whole = written()
    for length in range(len(whole)):
        with pytest.raises(Damaged):
            read(whole[:length])
    with pytest.raises(Damaged, match="follows after its end"):
        read(whole + b"\0")


def test_members_that_were_taken_out_or_put_in_are_noticed() -> None:
    whole = written()
    for name in CONTENTS:
        start = whole.index(name.encode().ljust(100, b"\0"))
        size = 512 + -(-len(CONTENTS[name]) // 512) * 512
        with pytest.raises(Damaged):
            read(whole[:start] + whole[start + size :])
        with pytest.raises(Damaged):
            read(whole[: start + size] + whole[start:])


def entry(name: str, **more: object) -> tarfile.TarInfo:
    """A member to forge with."""
    found = tarfile.TarInfo(name)
    for attribute, value in more.items():
        setattr(found, attribute, value)
    return found


@pytest.mark.parametrize(
    "hostile",
    [
        entry("library/../../etc/cron.d/x"),
        entry("/etc/passwd"),
        entry("library//etc/passwd"),
        entry("library/ab/.ssh"),
        entry("library/ab\\..\\x"),
        entry("library/" + "a" * 200),
        entry("elsewhere/x"),
        entry("library/ab", type=tarfile.DIRTYPE),
        entry("library/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("library/link", type=tarfile.LNKTYPE, linkname="manifest.json"),
        entry("library/pipe", type=tarfile.FIFOTYPE),
        entry("library/disk", type=tarfile.BLKTYPE, devmajor=8),
        entry("library/terminal", type=tarfile.CHRTYPE, devmajor=5),
        entry("library/sparse", type=tarfile.GNUTYPE_SPARSE),
        entry("library/root", uid=1),
    ],
    ids=lambda found: found.name[:30] + found.type.decode(),
)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_no_backup_holds_is_refused(hostile: tarfile.TarInfo, form: int) -> None:
    try:
        archive = forged(hostile, form=form)
    except ValueError:  # this format cannot say it
        archive = forged(hostile)
    with pytest.raises(Damaged, match=r"altered|no backup has"):
        read(archive)


def test_a_size_that_nobody_has_room_for_ends_where_the_bytes_end() -> None:
    bomb = entry("library/bomb")
    stream = forged(bomb)
    bomb.size = 2**62
    header = bomb.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(Damaged, match="ends too early"):
        read(stream[:512] + header + bytes(4096))


def test_an_archive_with_endless_members_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bambisleep.backups.archive.MOST_MEMBERS", 3)
    with pytest.raises(Damaged, match="more than 3 files"):
        read(written())


@pytest.mark.parametrize("foreign", [b"", b"PK\x03\x04" + bytes(2000), bytes(2000), b"\x1f\x8b" + bytes(2000)])
def test_another_program_s_file_is_none(foreign: bytes) -> None:
    with pytest.raises(Damaged):
        read(foreign)


def test_a_file_that_became_shorter_meanwhile_is_no_backup() -> None:
    writer = Writer(io.BytesIO(), at=0)
    with pytest.raises(Damaged, match="became shorter"):
        writer.add("library/ab/abcd.mp4", 10, io.BytesIO(b"short"))


def test_a_member_larger_than_a_tar_header_s_octal_digits_can_say() -> None:
    class Zeros(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    class Nowhere(io.RawIOBase):
        def write(self, data: object) -> int:
            if not heads:
                heads.append(bytes(data)[:512])  # type: ignore[call-overload]
            raise InterruptedError

    heads: list[bytes] = []
    with pytest.raises(InterruptedError):
        Writer(Nowhere(), at=0).add("library/long.mp4", 20 * 2**30, Zeros())  # type: ignore[arg-type]
    assert tarfile.TarInfo.frombuf(heads[0], "ascii", "strict").size == 20 * 2**30


def test_the_hash_of_each_member_is_told() -> None:
    writer = Writer(io.BytesIO(), at=0)
    content = b"a film" * 1000
    assert writer.add("library/x.mp4", len(content), io.BytesIO(content)) == hashlib.sha256(content).hexdigest()
