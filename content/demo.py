"""Demo content: a few items of every kind, labelled as what they are, so that the library does not start empty.

The film is a small file of ours; the recording and the pictures are made here. All is put in as staff's own would be.
"""

import random
import tempfile
import wave
from array import array
from dataclasses import dataclass
from datetime import timedelta
from math import sin, tau
from pathlib import Path

from django.db import transaction
from django.utils import timezone
from PIL import Image, ImageDraw

from . import files
from .models import Captions, Collection, Item, Kind, Role, Tag, Visibility

FILM = Path(__file__).parent / "assets" / "breathing.mp4"
COLLECTION = "demo-first-nights"
NOTE = "*An example that came with the installation; `manage.py remove_demo` takes it away.*"
SAMPLES_PER_SECOND, RECORDING_SECONDS = 16_000, 40
POSTER_SIZE = (960, 540)

CAPTIONS = """WEBVTT

00:00.000 --> 00:04.000
Breathe in while the light grows.

00:04.000 --> 00:08.000
Breathe out while it fades.

00:08.000 --> 00:12.000
In, through the nose.

00:12.000 --> 00:16.000
Out, and let the shoulders sink.

00:16.000 --> 00:20.000
In once more.

00:20.000 --> 00:24.000
And out. Good night.
"""


@dataclass(frozen=True, slots=True)
class Example:
    """One item to be made."""

    slug: str
    kind: Kind
    title: str
    summary: str
    body: str
    visibility: Visibility
    days: float  # since it was published; in the future where negative
    tags: tuple[str, ...]
    hue: tuple[int, int, int]


EXAMPLES = (
    Example(
        "demo-a-room-for-the-night",
        Kind.ARTICLE,
        "A room for the night",
        "Dark, cool and quiet: what a bedroom needs, and what it does not.",
        "Three things make a room good to sleep in. None of them is bought.\n\n"
        "1. **Dark.** Cover what glows: the charger, the clock, the gap in the curtain.\n"
        "2. **Cool.** Most people sleep best between 16 and 19 °C.\n"
        "3. **Quiet**, or evenly loud. A fan hides more than it adds.\n\n"
        "> Leave the telephone in another room. It will be there in the morning.\n\n"
        "## And the bed?\n\nWhatever you like. It is used for sleeping, and for little else.",
        Visibility.PUBLIC,
        2,
        ("Sleep", "Evening"),
        (52, 73, 120),
    ),
    Example(
        "demo-breathing-with-the-light",
        Kind.VIDEO,
        "Breathing with the light",
        "A light that grows and fades at the pace of a calm breath.",
        "Lie down, look at the light, and breathe as it does: in while it grows, out while it fades.",
        Visibility.PUBLIC,
        1,
        ("Breathing", "Evening"),
        (98, 84, 120),
    ),
    Example(
        "demo-rain-far-away",
        Kind.AUDIO,
        "Rain, far away",
        "An even noise to fall asleep by.",
        "Play it softly. It ends by itself.",
        Visibility.MEMBERS,
        3,
        ("Sound", "Sleep"),
        (46, 92, 104),
    ),
    Example(
        "demo-when-sleep-does-not-come",
        Kind.ARTICLE,
        "When sleep does not come",
        "What to do at three in the morning, and what to leave alone.",
        "Get up. Twenty minutes awake are enough: go to another room, keep the light low, and do something dull.\n\n"
        "| Do | Leave |\n|---|---|\n| read on paper | look at the clock |\n| drink water | reckon the hours left |\n\n"
        "Come back when you are sleepy, not before.",
        Visibility.MEMBERS,
        5,
        ("Sleep",),
        (70, 58, 104),
    ),
    Example(
        "demo-the-morning-after",
        Kind.ARTICLE,
        "The morning after",
        "It appears by itself in a week: an item may be scheduled.",
        "Get up at the same time, whatever the night was like. Go out into the light.",
        Visibility.PUBLIC,
        -7,
        ("Morning",),
        (128, 96, 70),
    ),
)


def load() -> int:
    """Make the demo items, unless they are there.

    Returns:
        How many there are.
    """
    present = set(Item.objects.filter(slug__in=[example.slug for example in EXAMPLES]).values_list("slug", flat=True))
    for position, example in enumerate(EXAMPLES, 1):
        if example.slug not in present:
            _make(example, position)
    return len(EXAMPLES)


def remove() -> int:
    """Delete the demo items with their files, and the collection and the tags that nothing else is in.

    Returns:
        How many items were deleted.
    """
    items = Item.objects.filter(slug__in=[example.slug for example in EXAMPLES])
    with transaction.atomic():
        for item in items:
            for file in item.files.all():
                file.delete()
        number = items.count()
        items.delete()
        Collection.objects.filter(slug=COLLECTION, items__isnull=True).delete()
        ours = {tag.lower() for example in EXAMPLES for tag in example.tags}
        Tag.objects.filter(slug__in=ours, items__isnull=True).delete()
    return number


def present() -> int:
    """How many demo items there are."""
    return Item.objects.filter(slug__in=[example.slug for example in EXAMPLES]).count()


def _make(example: Example, position: int) -> None:
    """An item, whole or not at all: it is a draft until its files are in."""
    collection, _ = Collection.objects.get_or_create(
        slug=COLLECTION, defaults={"title": "First nights", "description": "Where to begin. " + NOTE}
    )
    item = Item.objects.create(
        slug=example.slug,
        kind=example.kind,
        title=example.title,
        summary=example.summary,
        body=f"{example.body}\n\n{NOTE}",
        visibility=example.visibility,
        collection=collection,
        position=position,
    )
    item.tags.set([Tag.objects.get_or_create(slug=tag.lower(), defaults={"name": tag})[0] for tag in example.tags])
    with tempfile.TemporaryDirectory() as directory:
        poster = Path(directory) / "poster.png"
        _draw(example).save(poster)
        files.keep(poster, original_name="poster.png", item=item, role=Role.POSTER)
        if example.kind == Kind.VIDEO:
            files.keep(FILM, original_name=FILM.name, item=item)
            Captions.objects.create(item=item, label="English", text=CAPTIONS, is_default=True)
        elif example.kind == Kind.AUDIO:
            files.keep(_record(Path(directory) / "rain.wav"), original_name="rain.wav", item=item)
    item.published_at = timezone.now() - timedelta(days=example.days)
    item.save()


def _record(path: Path) -> Path:
    """Brown noise that comes up, swells twice, and goes."""
    noise = random.Random(7)  # noqa: S311 -- the same noise each time
    total = SAMPLES_PER_SECOND * RECORDING_SECONDS
    level, samples = 0.0, array("h")
    for index in range(total):
        level = 0.985 * level + noise.uniform(-1, 1)
        edge = min(1.0, index / (3 * SAMPLES_PER_SECOND), (total - index) / (3 * SAMPLES_PER_SECOND))
        swell = 0.8 + 0.2 * sin(tau * index / (total / 2))
        samples.append(int(max(-1.0, min(1.0, level / 18)) * edge * swell * 16_000))
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(SAMPLES_PER_SECOND)
        recording.writeframes(samples.tobytes())
    return path


def _draw(example: Example) -> Image.Image:
    """A moon over hills, in a colour of the item's own."""
    width, height = POSTER_SIZE
    red, green, blue = example.hue
    picture = Image.new("RGB", POSTER_SIZE)
    draw = ImageDraw.Draw(picture)
    for y in range(height):
        part = y / height
        draw.line([(0, y), (width, y)], fill=tuple(int(14 + (tone - 14) * part) for tone in (red, green, blue)))
    stars = random.Random(example.slug)  # noqa: S311 -- the same sky each time
    for _ in range(60):
        x, y = stars.randrange(width), stars.randrange(height // 2)
        draw.point((x, y), fill=(220, 224, 240))
    crescent = Image.new("L", POSTER_SIZE)
    shape = ImageDraw.Draw(crescent)
    shape.ellipse([640, 80, 780, 220], fill=255)
    shape.ellipse([600, 60, 740, 200], fill=0)
    picture.paste((238, 234, 214), mask=crescent)
    for layer, shade in ((0.62, 0.5), (0.76, 0.34)):
        top = [(x, height * layer + 34 * sin(x / (90 + 60 * layer) + red)) for x in range(0, width + 1, 8)]
        draw.polygon([*top, (width, height), (0, height)], fill=tuple(int(tone * shade) for tone in (red, green, blue)))
    return picture
