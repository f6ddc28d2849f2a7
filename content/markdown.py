"""Texts in Markdown, to HTML that is safe to show and to plain words; whoever wrote them, nothing active comes out.

markdown-it (CommonMark, with tables, strikethrough and footnotes) takes HTML for text, and what it makes passes through
nh3, which lets through only what is named here. Of pictures only an item's own are shown, named `media:KEY`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import nh3
from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.footnote import footnote_plugin

TAGS = {
    "p",
    "br",
    "hr",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "em",
    "strong",
    "s",
    "blockquote",
    "ul",
    "ol",
    "li",
    "pre",
    "code",
}
TAGS |= {"a", "img", "div", "table", "thead", "tbody", "tr", "th", "td", "sup", "section"}
ATTRIBUTES = {
    "a": {"href", "title", "rel", "id"},
    "img": {"src", "alt", "title", "width", "height"},
    "ol": {"start"},
    "li": {"id"},
}
ALIGNED = {"to-left", "to-center", "to-right"}
CLASSES = {"div": {"scroll"}, "section": {"footnotes"}, "th": ALIGNED, "td": ALIGNED}
# What scrolls by itself must be reached by the keyboard.
SET: dict[str, dict[str, str]] = {
    "pre": {"tabindex": "0"},
    "div": {"tabindex": "0"},
    "img": {"loading": "lazy"},
    "table": {"class": "table"},
}
SCHEMES = {"http", "https", "mailto"}
PICTURE = "media:"
FOOTNOTE_ID = re.compile(r"fn(ref)?-\w+-\d+(:\d+)?")
LOWEST_HEADING = 6
DEEPEST = 20  # of quotes and lists in each other


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that a text may show."""

    address: str
    description: str = ""
    width: int | None = None
    height: int | None = None


def html(
    text: str, *, pictures: Mapping[str, Picture] | None = None, name: str = "text", headings_below: int = 1
) -> SafeString:
    """A text as HTML.

    Args:
        pictures: by the key that `![…](media:KEY)` names; of any other picture only its description is shown.
        name: of the text on its page, a word, so that footnotes of two texts do not get in each other's way.
        headings_below: the level of the heading that the text stands under; its own begin one lower.
    """
    tokens = _parse(text, name)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(int(token.tag[1]) + headings_below, LOWEST_HEADING)}"
        elif token.type in {"th_open", "td_open"}:
            _align(token)
        elif token.children:
            token.children = [_inline(child, pictures or {}) for child in token.children]
    made = _parser.renderer.render(tokens, _parser.options, {"docId": name})
    return mark_safe(_cleaner.clean(made))  # noqa: S308 - cleaned, to what is named above


def plain(text: str) -> str:
    """The words of a text, for a search index or a description: no markup, no addresses, one line for each block."""
    return "\n".join(line for line in (" ".join(_words(token).split()) for token in _parse(text, "plain")) if line)


def _parse(text: str, name: str) -> list[Token]:
    return _parser.parse(text, {"docId": name})


def _words(token: Token) -> str:
    if token.children:
        return "".join(_words(child) for child in token.children)
    if token.type in {"text", "code_inline", "code_block", "fence"}:
        return token.content
    return " " if token.type in {"softbreak", "hardbreak"} else ""


def _inline(token: Token, pictures: Mapping[str, Picture]) -> Token:
    """A link with what its target is worth; a picture that may be shown, or the words for it."""
    if token.type == "link_open" and not is_ours(str(token.attrGet("href") or "")):
        token.attrSet("rel", "noopener noreferrer nofollow")
    if token.type != "image":
        return token
    key = str(token.attrGet("src") or "").removeprefix(PICTURE)
    described = " ".join(_words(token).split())
    picture = pictures.get(key)
    if picture is None:
        return Token("text", "", 0, content=described)
    title = token.attrGet("title")
    attributes: dict[str, str | int | None] = {
        "src": picture.address,
        "alt": described or picture.description,
        "width": picture.width,
        "height": picture.height,
        "title": str(title) if title else None,
    }
    written = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items() if value is not None)
    return Token("html_inline", "", 0, content=f"<img{written}>")


def is_ours(address: str) -> bool:
    """Whether an address in a text leads to this site."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    if not parts.scheme and not parts.netloc:
        return not address.startswith(("//", "/\\", "\\"))
    return f"{parts.scheme}://{parts.netloc}" == settings.PUBLIC_URL


def _align(token: Token) -> None:
    """A column's alignment as a class, since a style would be inline."""
    style = str(token.attrs.pop("style", ""))
    if style:
        token.attrSet("class", style.replace("text-align:", "to-"))


def _may_be_linked(address: str) -> bool:
    scheme = re.match(r"\s*([a-z][a-z0-9+.-]*):", address, re.I)
    return scheme is None or scheme[1].lower() in SCHEMES or address.startswith(PICTURE)


def _filter(tag: str, attribute: str, value: str) -> str | None:
    """What an attribute may hold beyond what the lists of nh3 can say; None drops it."""
    if attribute == "id":
        return value if FOOTNOTE_ID.fullmatch(value) else None
    if attribute == "src":
        return value if is_ours(value) and value.startswith("/") else None
    return value


def _table(tag: str) -> Callable[..., str]:
    def render(tokens: Iterable[Token], index: int, options: Any, env: Any) -> str:
        return tag

    return render


def _made_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "typographer": False, "maxNesting": DEEPEST})
    parser.enable(["table", "strikethrough"]).use(footnote_plugin, inline=False)
    parser.validateLink = _may_be_linked  # type: ignore[method-assign, assignment]
    parser.renderer.rules["table_open"] = _table('<div class="scroll"><table>\n')  # type: ignore[attr-defined]
    parser.renderer.rules["table_close"] = _table("</table></div>\n")  # type: ignore[attr-defined]
    return parser


_parser = _made_parser()
_cleaner = nh3.Cleaner(
    tags=TAGS,
    attributes=ATTRIBUTES,
    attribute_filter=_filter,
    allowed_classes=CLASSES,
    set_tag_attribute_values=SET,
    url_schemes=SCHEMES,
    link_rel=None,
)
