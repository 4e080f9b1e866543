"""Markdown as HTML by its tokens: as usual, but for what a lesson page has of its own."""

import re
from pathlib import Path

from chart import curves_of
from links import target
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

PICTURES = Path(__file__).with_name("pictures")
NUMBER = re.compile(r"<!-- \w+ ([\w.-]+) -->")


def as_html(tokens, **env):
    """Return tokens as HTML. env: the file, and for the page of a step what belongs to it."""
    return Markup(MARKDOWN.renderer.render(tokens, MARKDOWN.options, env))


class Renderer(RendererHTML):
    """Renders Markdown as usual, but for these kinds of tokens."""

    def strip(self, tokens, i, options, env):  # the line of code that a paragraph is about
        return str(env["strip"](tokens[i].meta["code"], tokens[i].meta["as"]))

    def figure(self, tokens, i, options, env):
        return str(env["figure"](tokens[i].meta))

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

    def fence(self, tokens, i, options, env):  # the commands of a task begin with its file
        picture = PICTURES / f"{env['file'].stem}.svg"
        if "-->" in tokens[i].content and picture.exists():  # which is drawn there with characters
            return f"<figure>{picture.read_text(encoding='utf-8')}</figure>"
        start = str(env["start"]) if env.get("section") == "practice" else ""
        return start + super().fence(tokens, i, options, env)

    def th_open(self, tokens, i, options, env):
        if not tokens[i + 1].content:  # a heading of nothing is none
            tokens[i].tag = tokens[i + 2].tag = "td"
        inline, (words, place) = tokens[i + 1], env["t"]["line_ends"].split("|")
        if inline.content == words:  # what that is, the page of the records says
            ends = (f'<a href="records.html#{place}">', "</a>")
            begin, end = (Token("html_inline", "", 0, content=text) for text in ends)
            inline.children = [begin, *inline.children, end]
        return self.renderToken(tokens, i, options, env)

    def softbreak(self, tokens, i, options, env):  # between Chinese sentences there is no space
        return "" if tokens[i - 1].content[-1:] > "\u2e80" else "\n"

    def table_open(self, *_):
        return '<div class="wide"><table>\n'

    def table_close(self, *_):
        return "</table></div>\n"

    def html_inline(self, tokens, i, options, env):
        if number := NUMBER.fullmatch(tokens[i].content):
            env.setdefault("numbers", []).append(number[1])
        return "" if tokens[i].content.startswith("<!--") else tokens[i].content

    def html_block(self, tokens, i, options, env):
        """Return it; of a task, no fold around the hints; before an answer, a box for a guess."""
        text = tokens[i].content
        is_fold = text.startswith(("<details", "</details"))
        if env.get("section") == "exercise" and is_fold:
            if text.startswith("</"):
                return curves_of(env["records"], env.pop("numbers", []), env["t"]) + text
            env["numbers"] = []
            return str(env["guess"]) + text
        hidden = text.startswith("<!--") or (env.get("section") == "practice" and is_fold)
        return "" if hidden else text

    def ordered_list_open(self, tokens, i, options, env):
        if env.get("section") == "practice":
            return ""
        return self.renderToken(tokens, i, options, env)

    ordered_list_close = ordered_list_open

    def list_item_open(self, tokens, i, options, env):
        if env.get("section") == "practice" and tokens[i].info:
            return f"<details><summary>{env['t']['hint'].format(tokens[i].info)}</summary><p>"
        return self.renderToken(tokens, i, options, env)

    def list_item_close(self, tokens, i, options, env):
        if env.get("section") == "practice":
            return "</p></details>\n"
        return self.renderToken(tokens, i, options, env)


MARKDOWN = MarkdownIt("commonmark", {"html": True}, renderer_cls=Renderer).enable("table")
