"""The tables of dj-stripe's mirror, made at once (docs/decisions/payments.md). `manage.py makemigrations djstripe`
writes here what a new release of dj-stripe changes."""
