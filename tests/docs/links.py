"""Links within the pages that lead nowhere."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["broken"]


class _Page(HTMLParser):
    """The targets and the links of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an `id` and an `href`."""
        for name, value in attrs:
            if name == "id":
                self.targets.add(value or "")
            elif name == "href":
                self.links.add(value or "")


def broken(directory: Path) -> list[str]:
    """Each link between the pages of a directory to a file or a place that is not there; links elsewhere are not followed."""
    pages = {file.resolve(): _Page(file.read_text()) for file in directory.rglob("*.html")}
    found = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            place = unquote(parts.fragment)
            if not target.exists() or (place and target in pages and place not in pages[target].targets):
                found.append(f"{file.name}: {link}")
    return sorted(found)
