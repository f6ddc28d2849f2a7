"""Templates, read before anybody asks for one: an upgrade puts a new version's in their place while this one serves."""

import sysconfig
from pathlib import Path

from django.template import TemplateSyntaxError, engines

PACKAGES = sysconfig.get_path("purelib")


def load_templates() -> int:
    """Load each template of the site's own into the loaders' cache; packages', of which few are used, are left.

    Returns:
        how many there are.
    """
    loaded = 0
    for backend in engines.all():
        engine = backend.engine  # type: ignore[attr-defined]
        folders = {Path(folder) for loader in engine.template_loaders for folder in loader.get_dirs()}
        folders = {folder for folder in folders if not folder.is_relative_to(PACKAGES)}
        names = {str(path.relative_to(folder)) for folder in folders for path in folder.rglob("*") if path.is_file()}
        for name in names:
            try:
                engine.get_template(name)
                loaded += 1
            except TemplateSyntaxError:  # of an app that is not installed here
                continue
    return loaded
