"""The text of a page of docs/ as HTML, its links led to the pages of the site."""

import re
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markupsafe import Markup
from steps import ROOT, STEPS

DOCS = [ROOT / "docs" / language for language in ("en", "zh-CN")]
# A paragraph that belongs to a line of code, with the table that follows; what quotes the code
# after it is not needed beside the code itself
NOTE = re.compile(
    r"<!-- at: (.+?) -->\n((?:.+\n)+(?:\n(?:\|.+\n)+)?)(?:\n```python\n(?s:.*?)\n```\n)?"
)


def read_page(file, text):
    """Return a page as {title, before and after the new lines, notes: [(code, HTML)]}."""
    title, _, text = text.removeprefix("# ").partition("\n\n")
    text = re.sub(r"<!-- links -->.*?<!-- end of links -->", "", text, flags=re.S)
    notes = [(code, html(note, file)) for code, note in NOTE.findall(text)]
    before, new_lines, rest = NOTE.sub("", text).partition("<!-- new lines -->")
    if new_lines:  # without the words that lead to them
        before = before.strip().rpartition("\n\n")[0]
        rest = rest.partition("<!-- end of new lines -->")[2].strip().removeprefix("</details>")
    parts = {"before": html(before, file), "after": html(rest, file)}
    return {"title": title, "notes": notes, "fold": "<!-- practice -->" in text, **parts}


def html(markdown, file):
    """Return HTML of a piece of a page, which is this file."""
    markdown = re.sub(r"<!--.*?-->", "", markdown)
    # A paragraph that is bold and nothing else is a heading
    markdown = re.sub(r"(^|\n\n)\*\*([^*\n]+?)\.?\*\*(?=\n\n|$)", r"\1## \2", markdown)
    return Markup(MARKDOWN.render(markdown, {"file": file}))


def target(file, link):
    """Return where a link of a page leads on the site; None if it has no such page."""
    path, _, anchor = link.partition("#")
    if link.startswith(("https://", "#")):
        return link
    path = (file.parent / path).resolve()
    if path.parent in DOCS:
        return f"../{path.parent.name}/{path.stem}.html" + (anchor and f"#{anchor}")
    if path.parent == ROOT and path.stem.startswith("README"):
        return "index.html"
    return next((f"v{step.version:02}.html" for step in STEPS if path == step.path), None)


class Renderer(RendererHTML):
    """Renders Markdown as usual, but for these kinds of tokens."""

    def link_open(self, tokens, i, options, env):
        href = target(env["file"], tokens[i].attrs.pop("href"))
        tokens[i].attrs |= {"href": href} if href else {}  # else it is a text like any other
        return self.renderToken(tokens, i, options, env)

    def image(self, tokens, i, options, env):
        tokens[i].attrs["src"] = f"../images/{Path(tokens[i].attrs['src']).name}"
        return super().image(tokens, i, options, env)

    def heading_open(self, tokens, i, options, env):
        words = re.sub(r"[^\w\- ]", "", tokens[i + 1].content.lower())
        tokens[i].attrs["id"] = words.replace(" ", "-")  # as on GitHub
        return self.renderToken(tokens, i, options, env)

    def fence(self, tokens, i, options, env):  # by keyboard, it can be scrolled
        return super().fence(tokens, i, options, env).replace("<pre", '<pre tabindex="0"', 1)

    def th_open(self, tokens, i, options, env):
        if not tokens[i + 1].content:  # a heading of nothing is none
            tokens[i].tag = tokens[i + 2].tag = "td"
        return self.renderToken(tokens, i, options, env)

    def softbreak(self, tokens, i, options, env):  # between Chinese sentences there is no space
        return "" if tokens[i - 1].content[-1:] > "\u2e80" else "\n"

    def table_open(self, *_):
        return '<div class="wide"><table>\n'

    def table_close(self, *_):
        return "</table></div>\n"


MARKDOWN = MarkdownIt("commonmark", {"html": True}, renderer_cls=Renderer).enable("table")
