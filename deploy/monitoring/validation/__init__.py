"""The steps of validate.py, one file each, and what they share. Python's standard library only."""
