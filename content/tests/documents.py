"""A page as a browser reads it: its tags and attributes, whatever they look like in the text."""

from html.parser import HTMLParser


class Document(HTMLParser):
    """Every tag and attribute of a document, as a browser would read them."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_comment(self, data: str) -> None:
        self.tags.add("a comment")

    def handle_decl(self, decl: str) -> None:
        self.tags.add("a declaration")

    def handle_pi(self, data: str) -> None:
        self.tags.add("an instruction")

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]
