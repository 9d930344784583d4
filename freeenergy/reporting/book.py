"""Cards and figures of the report page: Plotly figures and texts go in, HTML comes out."""

from html import escape
from typing import Any

__all__ = ["Book", "card", "grid"]


class Book:
    """Figures collected while the sections are written; the page stores them once, as data."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    def figure(self, name: str, figure: dict[str, Any], title: str, caption: str) -> str:
        """Place for a figure, with a title, a caption and the same words for screen readers."""
        self.figures[name] = figure
        height = min(figure["layout"]["height"], 420)
        view = " view" if "scene" in figure["layout"] else ""
        heading = f"<h3>{escape(title)}</h3>" if title else ""
        spoken = f"{escape(title or name)}: {escape(caption)}"
        return (
            f'<figure>{heading}<div id="{name}" class="plot{view}" style="min-height:{height}px" '
            f'role="img" aria-label="{spoken}"></div><figcaption>{escape(caption)}</figcaption></figure>'
        )


def card(*parts: str, css: str = "") -> str:
    """One card; ``css`` adds classes."""
    return f'<div class="card{" " + css if css else ""}">{"".join(parts)}</div>'


def grid(*cards: str) -> str:
    """Cards in two columns, in one on a phone."""
    return f'<div class="grid below">{"".join(cards)}</div>'
