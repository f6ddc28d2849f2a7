"""Encrypted backups: to a public key, opened by the private one alone, and by it only if nothing was altered or cut."""

import errno
import io
import os
from pathlib import Path

import pyrage
import pytest

from bambisleep.backups.encryption import decrypted, encrypted, identities_of, recipients_of
from bambisleep.backups.errors import BackupError, Damaged

pytestmark = pytest.mark.once

PLAIN = os.urandom(3000)


@pytest.fixture(scope="module")
def key() -> pyrage.x25519.Identity:
    """A pair of keys."""
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def identity(key: pyrage.x25519.Identity, tmp_path: Path) -> Path:
    """The file that age-keygen writes."""
    path = tmp_path / "key.txt"
    path.write_text(f"# created: 2026-01-31T12:00:00Z\n# public key: {key.to_public()}\n{key}\n")
    return path


def sealed(key: pyrage.x25519.Identity, plain: bytes = PLAIN) -> bytes:
    """That text, encrypted to it."""
    stream = io.BytesIO()
    with encrypted(stream, recipients_of([str(key.to_public())])) as file:
        file.write(plain)
    return stream.getvalue()


def opened(data: bytes, identity: Path | None) -> bytes:
    """What it says."""
    with decrypted(io.BufferedReader(io.BytesIO(data)), identity) as file:  # type: ignore[arg-type]
        return file.read()


def test_who_has_the_private_key_reads_it(key: pyrage.x25519.Identity, identity: Path) -> None:
    data = sealed(key)
    assert data.startswith(b"age-encryption.org/v1\n")
    assert PLAIN[:50] not in data
    assert opened(data, identity) == PLAIN == pyrage.decrypt(data, [key])


def test_nobody_else_does(key: pyrage.x25519.Identity, identity: Path, tmp_path: Path) -> None:
    data = sealed(key)
    with pytest.raises(BackupError, match="give the file of the private key"):
        opened(data, None)
    other = tmp_path / "other.txt"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(BackupError, match="encrypted to others"):
        opened(data, other)


def test_each_of_several_recipients_does(key: pyrage.x25519.Identity, identity: Path) -> None:
    stream, second = io.BytesIO(), pyrage.x25519.Identity.generate()
    with encrypted(stream, recipients_of([str(second.to_public()), str(key.to_public())])) as file:
        file.write(PLAIN)
    assert opened(stream.getvalue(), identity) == PLAIN == pyrage.decrypt(stream.getvalue(), [second])


def test_altered_or_cut_anywhere_it_does_not_open(key: pyrage.x25519.Identity, identity: Path) -> None:
    data = sealed(key)
    for place in range(22, len(data), 7):  # what does not begin as age does is taken for a plain archive
        altered = bytearray(data)
        altered[place] ^= 1
        with pytest.raises(BackupError):
            opened(bytes(altered), identity)
        with pytest.raises(BackupError):
            opened(data[:place], identity)
    with pytest.raises(Damaged):
        opened(data + b"\0", identity)


def test_without_recipients_it_stays_as_it_is() -> None:
    stream = io.BytesIO()
    with encrypted(stream, []) as file:
        file.write(PLAIN)
    assert opened(stream.getvalue(), None) == PLAIN


def test_a_full_disk_is_told_as_such(key: pyrage.x25519.Identity) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def fill() -> None:
        with encrypted(Full(), recipients_of([str(key.to_public())])) as file:
            for _ in range(1000):
                file.write(bytes(10_000))

    with pytest.raises(OSError, match="No space left") as failed:
        fill()
    assert failed.value.errno == errno.ENOSPC


def test_a_reader_that_stops_early_leaves_nobody_waiting(key: pyrage.x25519.Identity, identity: Path) -> None:
    data = sealed(key, bytes(4_000_000))

    def stop_early() -> None:
        with decrypted(io.BufferedReader(io.BytesIO(data)), identity) as file:  # type: ignore[arg-type]
            assert file.read(10) == bytes(10)
            raise KeyError

    with pytest.raises(KeyError):
        stop_early()


@pytest.mark.parametrize("word", ["age1nonsense", "nobody", "ssh-rsa AAAA"])
def test_what_is_no_public_key_is_refused_in_plain_words(word: str) -> None:
    with pytest.raises(BackupError, match="public keys"):
        recipients_of([word])


def test_a_private_key_in_its_place_is_not_printed(key: pyrage.x25519.Identity) -> None:
    with pytest.raises(BackupError, match="holds a private key") as refused:
        recipients_of([str(key)])
    assert str(key)[20:] not in str(refused.value)


def test_a_file_without_a_private_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="cannot be read"):
        identities_of(tmp_path / "none")
    for text in (b"", b"# public key: age1\n", b"\xff\xfe", b"age1qqqq", b"-----BEGIN OPENSSH PRIVATE KEY-----\n"):
        (tmp_path / "key").write_bytes(text)
        with pytest.raises(BackupError, match="holds no private key"):
            identities_of(tmp_path / "key")
