#!/usr/bin/env python
"""Django's command line, with this project's settings."""

import os
import sys

from django.core.management import execute_from_command_line

import bambisleep.systemd  # noqa: F401 -- before the apps: one takes away what it reads

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bambisleep.settings")
    execute_from_command_line(sys.argv)
