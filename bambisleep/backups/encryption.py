"""Encryption in the age format (age-encryption.org/v1): to public recipients, so that a stolen server opens no backup.

Each piece of it is authenticated, its end too: what is altered or cut does not decrypt. pyrage streams, so memory stays
flat; it pulls from one file and pushes into another, and a pipe with a thread lets both of our ends push and pull.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import pyrage  # type: ignore[import-untyped]

from .archive import Writable
from .errors import BackupError, Damaged

MAGIC = b"age-encryption.org/v1\n"
BUFFER_BYTES = 2**18


def recipients_of(words: Sequence[str]) -> list[Any]:
    """The public keys that `age1…` or `ssh-ed25519 …` name; raises BackupError where one is none."""
    found = []
    for word in words:
        try:
            if word.startswith("ssh-"):
                found.append(pyrage.ssh.Recipient.from_str(word))
            else:
                found.append(pyrage.x25519.Recipient.from_str(word))
        except pyrage.RecipientError:
            shown = "a private key" if word.upper().startswith("AGE-SECRET-KEY-") else repr(word)
            raise BackupError(
                f"BACKUP_RECIPIENTS or --recipient holds {shown}: give public keys, age1…, as age-keygen prints them."
            ) from None
    return found


def identities_of(path: Path) -> list[Any]:
    """The private keys in a file of age-keygen's, or an SSH key; raises BackupError where there is none."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BackupError(f"The identity {path} cannot be read: {error.strerror}.") from None
    try:
        if text.startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(text)]
        lines = [line.strip() for line in text.decode().splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (pyrage.IdentityError, UnicodeDecodeError):
        found = []
    if not found:
        raise BackupError(f"{path} holds no private key: give the file that age-keygen wrote (AGE-SECRET-KEY-1…).")
    return found


@contextmanager
def encrypted(stream: Writable, recipients: Sequence[Any]) -> Iterator[Writable]:
    """What is written into the file that this gives goes to `stream` encrypted; without recipients, as it is."""
    if not recipients:
        yield stream
        return
    source, target = _pipe()
    kept = _Kept(stream)
    work = _Work(lambda: pyrage.encrypt_io(source, kept, recipients), closes=source)
    try:
        yield target
        target.close()
    except BrokenPipeError:
        pass  # it ended early: the reason is the thread's
    finally:
        _close(target)
        work.join()
    if (error := kept.error or work.error) is not None:
        raise error


@contextmanager
def decrypted(stream: BufferedReader, identity: Path | None) -> Iterator[BinaryIO]:
    """A file to read what `stream` holds, decrypted where it is encrypted.

    Raises:
        BackupError: without an identity where one is needed, or with another's.
        Damaged: where it does not decrypt to its end; rather than what the block makes of the missing rest.
    """
    if stream.peek(len(MAGIC))[: len(MAGIC)] != MAGIC:
        yield stream
        return
    if identity is None:
        raise BackupError("The archive is encrypted: give the file of the private key with --identity.")
    identities = identities_of(identity)
    source, target = _pipe()
    work = _Work(lambda: pyrage.decrypt_io(stream, target, identities), closes=target)
    try:
        yield source
    except Damaged:
        work.join()
        if work.error is None:
            raise
    finally:
        source.close()
        work.join()
    if work.error is not None:
        if "No matching keys" in str(work.error):
            raise BackupError("The archive was encrypted to others: this private key does not open it.")
        raise Damaged("The archive does not decrypt to its end: it is altered, or was cut.") from work.error


class _Work:
    """A thread that runs `work`, and then closes its end of the pipe; `error` is what it failed with."""

    def __init__(self, work: Callable[[], object], *, closes: BinaryIO) -> None:
        self._work, self._closes = work, closes
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="age", daemon=True)
        self._thread.start()
        self.join = self._thread.join

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  raised by whoever waits for this thread
            self.error = error
        finally:
            _close(self._closes)


class _Kept:
    """A file whose own error is kept: pyrage tells of it in words alone."""

    def __init__(self, file: Writable) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes, /) -> int:
        """Write to it."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Flush it."""
        self._file.flush()


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    source, target = os.pipe()
    return os.fdopen(source, "rb", buffering=BUFFER_BYTES), os.fdopen(target, "wb", buffering=BUFFER_BYTES)


def _close(file: BinaryIO) -> None:
    """Close it; what it still held is for nobody where the other end is gone."""
    with suppress(BrokenPipeError, ValueError):
        file.close()
