"""Backups: one archive of the database and the library's files, consistent with each other, and the way back.

`taking` makes one, `restoring` checks one and brings it back; the commands `backup` and `restore` are their shells.
How an archive is built stands in `archive`, what it says of itself in `manifest`.
"""
