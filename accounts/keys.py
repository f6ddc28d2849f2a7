"""Keys for particular purposes, made of the site's secret key."""

import base64
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


@lru_cache(16)
def fernet_key(secret: str, *, purpose: str) -> bytes:
    """A key for `cryptography.fernet`, by HKDF (RFC 5869), so that none stands for another purpose's."""
    derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"bambisleep {purpose}".encode())
    return base64.urlsafe_b64encode(derive.derive(secret.encode()))
