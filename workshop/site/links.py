"""The pages of the repository, and where their links lead on the site."""

import os

from steps import ROOT, STEPS

DOCS = [ROOT / "docs" / language for language in ("en", "zh-CN")]
OTHERS = {"readme": "", "beyond": "beyond", "data": "data"}  # pages that lie in other folders
# Where GitHub runs a workflow, it says which repository this is
REPOSITORY = os.environ.get("GITHUB_REPOSITORY")


def files_of(docs):
    """Return {name: file} of all pages in one language."""
    end = "" if docs.name == "en" else f".{docs.name}"
    others = {name: ROOT / folder / f"README{end}.md" for name, folder in OTHERS.items()}
    return {**others, **{file.stem: file for file in docs.glob("*.md")}}


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
