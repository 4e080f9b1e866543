"""A page of the repository as sections of HTML, in the order of its text, by Markdown's tokens."""

import os
import re
from pathlib import Path

from chart import curves_of
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup
from steps import ROOT, STEPS

DOCS = [ROOT / "docs" / language for language in ("en", "zh-CN")]
OTHERS = {"readme": "", "beyond": "beyond", "data": "data"}  # pages that lie in other folders
PICTURES = Path(__file__).with_name("pictures")
COMMENT = re.compile(r"<!-- (.+?) -->\s*", re.S)
NUMBER = re.compile(r"<!-- \w+ ([\w.-]+) -->")
# Where GitHub runs a workflow, it says which repository this is
REPOSITORY = os.environ.get("GITHUB_REPOSITORY")


def files_of(docs):
    """Return {name: file} of all pages in one language."""
    end = "" if docs.name == "en" else f".{docs.name}"
    others = {name: ROOT / folder / f"README{end}.md" for name, folder in OTHERS.items()}
    return {**others, **{file.stem: file for file in docs.glob("*.md")}}


def read_page(file, text, names):
    """Return a page's title, and its sections [(name, tokens)]; names: {a heading: that name}."""
    blocks = [*blocks_of(MARKDOWN.parse(text))]
    title, sections, until = blocks.pop(0)[1].content, [("question", [])], None
    if blocks[0][0].type == "paragraph_open" and is_links(blocks[0]):
        del blocks[0]  # the menu has them
    for i, block in enumerate(blocks):
        mark = COMMENT.fullmatch(block[0].content) if block[0].type == "html_block" else None
        mark = mark[1] if mark else ""
        if until:
            until = until if mark != until else None
        elif mark in ("links", "new lines"):
            until = f"end of {mark}"
            if mark == "new lines":
                del sections[-1][1][-len(blocks[i - 1]) :]  # the words that lead to them
                sections += [("lines", []), ("", [])]
        elif blocks[i - 1][0].content.strip() == "<!-- end of new lines -->" and not mark:
            if block[0].content.strip() != "</details>":
                add(sections, block, names)
        elif mark in ("practice", "end of practice"):
            sections.append((mark.removeprefix("end of practice"), []))
        elif mark.startswith("at: "):
            strip = Token("strip", "", 0, meta={"code": mark[4:], "as": ""})
            sections[-1][1].append(strip)
            after = [b for b in blocks[i + 2 : i + 4] if b[0].type != "table_open"][:1]
            if after and after[0][0].type == "fence" and after[0][0].info == "python":
                strip.meta["as"], after[0][0].content = after[0][0].content, ""
                after[0][0].type = "html_block"  # the strip shows these lines
        elif not mark:
            add(sections, block, names)
    return title, sections


def blocks_of(tokens):
    """Yield the tokens of each paragraph, heading, list, table."""
    block = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def add(sections, block, names):
    """Append a block to the last section, or let it begin one: some bold words are headings."""
    label, rest = run_in(block)
    name = names.get(label)
    if block[0].type == "heading_open":
        sections.append((block[1].content, block))
    elif name in ("question", "proved") or not label or (rest and not name):
        sections += [(name, [])] if name == "proved" else []
        sections[-1][1].extend(block if name != "question" else paragraph(rest))
    else:  # bold words alone, or those that every page of a step has
        text = Token("text", "", 0, content=label)
        inline = Token("inline", "", 0, content=label, children=[text])
        heading = wrapped("heading", "h2", inline)
        if name != "practice" or sections[-1][0] != "practice":
            sections.append((name or label, []))
        sections[-1][1].extend(heading + (paragraph(rest) if rest else []))


def is_links(block):
    """Return whether a paragraph is links and nothing else."""
    level, beside = 0, ""
    for token in block[1].children:
        level += token.nesting
        beside += "" if level else token.content
    return not beside.strip(" ·")


def run_in(block):
    """Return the bold words that a paragraph begins with, and the rest of its inline tokens."""
    children = block[1].children if block[0].type == "paragraph_open" else []
    children = [token for token in children if token.type != "text" or token.content]
    if [token.type for token in children[:3]] != ["strong_open", "text", "strong_close"]:
        return "", []
    rest = children[3:]
    if rest and rest[0].type == "text":
        rest[0] = rest[0].copy(content=rest[0].content.lstrip(" ：:"))
    rest = rest if any(token.content for token in rest) else []
    return children[1].content.strip(" .：:"), rest


def paragraph(children):
    return wrapped("paragraph", "p", Token("inline", "", 0, content="", children=children))


def wrapped(kind, tag, inline):
    begin, end = f"{kind}_open", f"{kind}_close"
    return [Token(begin, tag, 1, block=True), inline, Token(end, tag, -1, block=True)]


def as_html(tokens, **env):
    """Return tokens as HTML. env: the file, and for the page of a step what belongs to it."""
    return Markup(MARKDOWN.renderer.render(tokens, MARKDOWN.options, env))


def target(file, link):
    """Return where a link of a page leads on the site; None if it has no such page."""
    path, _, anchor = link.partition("#")
    if link.startswith(("https://", "#")):
        return link
    path, anchor = (file.parent / path).resolve(), anchor and f"#{anchor}"
    for docs in DOCS:
        for name, page in files_of(docs).items():
            if path == page:
                return f"../{docs.name}/{name}.html{anchor}"
    for step in STEPS:
        if path == step.path:
            return f"v{step.version:02}.html"
    inside = REPOSITORY and path.is_relative_to(ROOT)
    return f"https://github.com/{REPOSITORY}/blob/main/{path.relative_to(ROOT)}" if inside else None


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
        if tokens[i].info == "text" and picture.exists():  # which is drawn there with characters
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
