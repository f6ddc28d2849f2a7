"""Templates are read once, at the start: what an upgrade puts in their place is for the processes after it."""

from pathlib import Path
from typing import Any

import pytest
from django.template.loader import render_to_string

from bambisleep.templating import load_templates


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """Where the site's templates are."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "page.html").write_text("{% include 'deep/part.html' %} of the old version")
    (tmp_path / "deep" / "part.html").write_text("a part")
    backend = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": backend, "DIRS": [tmp_path], "APP_DIRS": False}]
    return tmp_path


def test_a_template_is_as_it_was_at_the_start(folder: Path) -> None:
    assert load_templates() == 2

    (folder / "page.html").write_text("of the new version")
    (folder / "deep" / "part.html").unlink()

    assert render_to_string("page.html") == "a part of the old version"


def test_what_another_app_would_need_keeps_nobody_from_starting(folder: Path) -> None:
    (folder / "odd.html").write_text("{% load of_an_app_that_is_not_installed %}")

    assert load_templates() == 2
