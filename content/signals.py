"""What follows from a row of the library's that goes, whoever deletes it: its bytes go too, once that is committed."""

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from . import files, uploads
from .models import MediaFile, Upload


@receiver(post_delete, sender=MediaFile)
def file_goes_with_its_row(instance: MediaFile, **_: Any) -> None:
    """A file of the library."""
    files.forget(instance.name)


@receiver(post_delete, sender=Upload)
def bytes_go_with_their_upload(instance: Upload, **_: Any) -> None:
    """What has arrived of an upload: cancelled, deleted in the admin, or gone with its item or its owner."""
    pk = instance.pk  # which the instance loses
    transaction.on_commit(lambda: uploads.remove_bytes(pk), robust=True)
