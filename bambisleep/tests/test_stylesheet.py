"""The stylesheet's colours: text on its ground is legible by WCAG 2.2 AA, in the light and in the dark."""

import re
from pathlib import Path

import pytest

STYLESHEET = (Path(__file__).resolve().parents[1] / "static" / "site.css").read_text()
TEXT, SHAPE = 4.5, 3.0  # the least contrast of text, and of what one must see to use (1.4.3, 1.4.11)

PAIRS = [
    *[("ink", ground, TEXT) for ground in ("paper", "surface", "sunken", "accent-soft")],
    *[("ink", ground, TEXT) for ground in ("good-soft", "warn-soft", "bad-soft")],
    *[("quiet", ground, TEXT) for ground in ("paper", "surface", "sunken")],
    *[(link, ground, TEXT) for link in ("accent", "accent-strong", "bad") for ground in ("paper", "surface")],
    ("on-accent", "accent", TEXT),
    ("on-accent", "accent-strong", TEXT),
    ("on-bad", "bad", TEXT),
    ("on-bad", "bad-strong", TEXT),
    ("accent-strong", "accent-soft", TEXT),
    ("good", "good-soft", TEXT),
    ("warn", "warn-soft", TEXT),
    ("bad", "bad-soft", TEXT),
    *[("edge", ground, SHAPE) for ground in ("paper", "surface")],
]


def tokens(scheme: str) -> dict[str, str]:
    """The colours by name, as they hold in `scheme`."""
    blocks = re.findall(r":root \{(.*?)\}", STYLESHEET, re.S)
    light = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[0]))
    return light if scheme == "light" else light | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[1]))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground", "least"), PAIRS)
def test_text_is_legible_on_its_ground(scheme: str, text: str, ground: str, least: float) -> None:
    colours = tokens(scheme)
    lighter, darker = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= least


def test_every_token_that_is_used_is_defined() -> None:
    used = set(re.findall(r"var\(--([\w-]+)\)", STYLESHEET))
    assert used <= set(re.findall(r"--([\w-]+):", STYLESHEET))
