"""Naming the program behind a User-Agent header, as its owner would."""

import re

from django import template

register = template.Library()

# The first that fits: browsers name those that they are made of, too.
BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "FxiOS": "Firefox", "CriOS": "Chrome"}
BROWSERS |= {"HeadlessChrome": "Chrome", "Chrome": "Chrome", "Safari": "Safari"}
SYSTEMS = {"Windows": "Windows", "iPhone": "iPhone", "iPad": "iPad", "Android": "Android"}
SYSTEMS |= {"CrOS": "ChromeOS", "Mac OS X": "macOS", "Linux": "Linux"}


@register.filter
def client_name(user_agent: str) -> str:
    """Such as "Firefox on Windows"; the header's beginning, where it names no browser that is known."""
    browser = next((name for sign, name in BROWSERS.items() if re.search(rf"\b{sign}/", user_agent)), "")
    system = next((name for sign, name in SYSTEMS.items() if sign in user_agent), "")
    if not browser:
        return user_agent.strip()[:60] or "An unknown program"
    return f"{browser} on {system}" if system else browser
