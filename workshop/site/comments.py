"""The comments and docstrings of the scripts in Chinese, line by line: comments.zh-CN.toml.

The scripts stay as they are; what is Chinese is made of them, with the same lines of code.
"""

import io
import re
import tokenize
from pathlib import Path

from steps import tomllib

TABLE = Path(__file__).with_name("comments.zh-CN.toml")
CHINESE = tomllib.loads(TABLE.read_text(encoding="utf-8"))
# The same in every language: shapes, and how a script is run
SAME = re.compile(r"(\(.*?\)[ +*:]*)+|(Run|Laptop|Sample|Expect|Next): .*|--learning_rate .*|")


def in_chinese(source, table=CHINESE):
    """Return a source, its comments and docstrings translated; what the table lacks stays."""
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (first, column), (last, _) = token.start, token.end
        if token.type == tokenize.COMMENT:
            text = translation(token.string.removeprefix("# "), table)
            lines[first - 1] = f"{lines[first - 1][:column]}# {text}"
        elif token.type == tokenize.STRING and token.string.startswith('"""'):
            for i in range(first - 1, last):
                text = lines[i].strip().removeprefix('"""').removesuffix('"""')
                lines[i] = lines[i].replace(text, translation(text, table)) if text else lines[i]
    return "\n".join(lines)


def translation(text, table):
    return text if SAME.fullmatch(text) else table.get(text, text)
