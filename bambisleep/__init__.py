"""The project: settings, the ASGI application, the URL table and the commands that start it."""

__version__ = "0.1.0"
