"""A page of the repository as sections of Markdown's tokens, in the order of its text."""

import re

from markdown_it.token import Token
from renderer import MARKDOWN

COMMENT = re.compile(r"<!-- (.+?) -->\s*", re.S)


def read_page(text, names):
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
