"""`manage.py doctor`: whether everything that the site needs is as it should be, and what to do where it is not.

A module is a subject; each of its checks is a function marked `@check`, which yields findings. `running` gives each its
time, makes a finding of what goes wrong with the check itself, and lets no secret through. Nothing is changed or sent.
"""
