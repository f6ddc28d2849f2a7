"""The edge: everything that must see each byte and each hang-up, wrapped around the ASGI application."""
