"""What the book changes in its pages: links, figures, sliders, glossary terms, the citation.

The files stay as they are. All changes happen while Sphinx reads them.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from address import book_address, repository
from docutils import nodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = "docs/glossary"
ENTRY = re.compile(r"^- \*\*(.+?)\*\*(?: \(([^)]+)\))?: (.+)$", re.MULTILINE)
ORDINARY = {"run", "step", "points", "indicator"}  # terms that are mostly ordinary words in a text
UNLINKED = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.raw)
BADGE = re.compile(r"\[!\[([^\]]*)\]\([^)]*\)\]\(([^)]*)\)")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
QUESTION = re.compile(r"^- \*([^*]+\?)\* (.+)$", re.MULTILINE)  # and its answer, docs/teaching.md
FOLDED = r'<details class="answer"><summary>\1</summary>\n\n\2\n\n</details>\n'
FIRST_TEST_SLICE = 1001  # its number, in the notebooks and on the live page
WIDGET = "application/vnd.jupyter.widget-view+json"


# -- sources ---------------------------------------------------------------------------------------


def up(docname: str) -> str:
    """Return the way from a page to the book's root, as "" or "../"."""
    return "../" * docname.count("/")


def prepare_markdown(text: str, docname: str, source: Path) -> str:
    """Return Markdown with folded answers, words for badges, and links to code on GitHub.

    Args:
        text: Markdown of a page, or of a cell.
        docname: the page, such as "notebooks/01_baseline".
        source: folder with the pages of the book.
    """
    def target(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(docname), match[1]))
        if path == "README.md":
            return f"{up(docname)}index.md"
        if (source / path).is_file() or not (ROOT / path).exists():  # a page, or Sphinx complains
            return match[0]
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"https://github.com/{repository()}/{kind}/main/{path}{match[2] or ''}"

    text = QUESTION.sub(FOLDED, text)
    return LINK.sub(target, BADGE.sub(r"[\1](\2)", text))


def live_link(docname: str, noise: int, is_built: bool) -> str:
    """Return HTML that stands in place of sliders, which need a running kernel.

    Args:
        docname: the page.
        noise: grey levels, for the address of the live page.
        is_built: whether the book has a live page.
    """
    text = "This picture has sliders. They appear when you run this cell."
    if is_built:
        address = f"{up(docname)}live/index.html#slice={FIRST_TEST_SLICE}&amp;noise={noise}"
        with_noise = f"with noise of {noise:,}" if noise else "without noise"
        text += (f' Or <a href="{address}">open the live page</a>: it segments a test slice '
                 f"{with_noise} in your browser, and has a slider for the noise.")
    return f'<p class="sliders">{text}</p>'


def noise_of(source: str, parameters: str) -> int:
    """Return the noise of a panel: that in its call, else that of the notebook, else none."""
    for text in (source, parameters):
        if found := re.search(r"\bnoise_std ?= ?([\d_]+)", text):
            return int(found[1])
    return 0


def prepare_notebook(text: str, docname: str, source: Path, is_built: bool) -> str:
    """Return a notebook as the book shows it.

    Args:
        text: the notebook's file.
        docname, source: as for `prepare_markdown`.
        is_built: whether the book has a live page.
    """
    notebook = json.loads(text)
    parameters = "".join(
        line for cell in notebook["cells"] for line in cell["source"]
        if "parameters" in cell["metadata"].get("tags", []))
    for cell in notebook["cells"]:
        content = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = prepare_markdown(content, docname, source)
        if "solution" in cell["metadata"].get("tags", []):
            cell["metadata"]["mystnb"] = {
                "code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
        for output in cell.get("outputs", []).copy():
            if WIDGET in output.get("data", {}):
                noise = noise_of(content, parameters)
                link = {"text/markdown": live_link(docname, noise, is_built)}
                cell["outputs"].append(output | {"data": link})
                output["data"] = {"image/png": output["data"]["image/png"]}
                cell["metadata"]["mystnb"] = {"image": {"alt": "The picture below the sliders"}}
    first = notebook["cells"][0]
    file = f"{up(docname)}_sources/{docname}.ipynb"
    download = f'<a href="{file}" download>Download this notebook</a>'
    first["source"] = re.sub(r"(\[Open in Colab\]\(.*?\))\n(\[Open in Binder\]\(.*?\))",
                             rf"\1 · \2 · {download}", first["source"])
    return json.dumps(notebook)


def prepare_source(app: Sphinx, docname: str, content: list[str]) -> None:
    """Change the text of a page before it is parsed."""
    source = Path(app.srcdir)
    if str(app.env.doc2path(docname)).endswith(".ipynb"):
        content[0] = prepare_notebook(content[0], docname, source, app.tags.has("live"))
    else:
        content[0] = prepare_markdown(content[0], docname, source)


# -- figures ---------------------------------------------------------------------------------------


def describe_figures(app: Sphinx, document: nodes.document) -> None:
    """Give each figure of a notebook the caption below it as its alternative text."""
    for cell in document.findall(
            lambda node: getattr(node, "get", dict().get)("nb_element") == "cell_code_output"):
        image = None
        for output in cell.children:
            found = next(iter(output.findall(nodes.image)), None)
            paragraph = next(iter(output.findall(nodes.paragraph)), None)
            if image is not None and paragraph is not None:
                image["alt"] = paragraph.astext()
                paragraph["classes"].append("figure-caption")
            image = found


def keep_together(app: Sphinx, document: nodes.document) -> None:
    """Let no line end inside "99 ± 1" of a table, nor inside "U-Net" or "X-ray" of a heading."""
    for kind, old, new in ((nodes.entry, " ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"),
                           (nodes.title, "-", "\N{NON-BREAKING HYPHEN}")):
        for element in document.findall(kind):
            for text in list(element.findall(nodes.Text)):
                text.parent.replace(text, nodes.Text(text.replace(old, new)))


# -- glossary --------------------------------------------------------------------------------------


def glossary_terms(text: str) -> dict[str, tuple[str, str]]:
    """Return the anchor and the meaning of every term of the glossary, and of its other names."""
    terms = {}
    for title, other, meaning in ENTRY.findall(text):
        names = split_names(title)
        anchor = f"term-{nodes.make_id(names[0]) or 'plus-minus'}"
        plain = re.sub(r"[*`]|\]\([^)]*\)|\[", "", meaning)
        names += [] if other.startswith("of ") else split_names(other)
        terms |= {name: (anchor, plain) for name in names}
    return terms


def split_names(title: str) -> list[str]:
    """Return the names in "name, other name (ABBREVIATION)", as `plain_name` writes them."""
    return [plain_name(name) for name in re.split(r", | \(|\)", title) if name]


def plain_name(name: str) -> str:
    """Return a name in lower case and with straight apostrophes; Sphinx curls them."""
    return name.lower().replace("’", "'")


def mark_terms(document: nodes.document, terms: dict[str, tuple[str, str]]) -> None:
    """Give every term on the glossary's own page its anchor."""
    for item in document.findall(nodes.list_item):
        strong = next(iter(item.findall(nodes.strong)), None)
        names = split_names(strong.astext()) if strong else []
        if names and names[0] in terms:
            item["ids"].append(terms[names[0]][0])


def link_terms(app: Sphinx, document: nodes.document) -> None:
    """Link each term of the glossary where a page uses it first."""
    terms = glossary_terms((Path(app.srcdir) / f"{GLOSSARY}.md").read_text())
    docname = app.env.docname
    if docname == GLOSSARY:
        mark_terms(document, terms)
        return
    glossary = app.builder.get_relative_uri(docname, GLOSSARY)
    left = {name: entry for name, entry in terms.items() if name not in ORDINARY}
    for text in list(document.findall(nodes.Text)):
        if not left or not is_prose(text):
            continue
        parts: list[nodes.Node] = []
        rest = str(text)
        while match := first_term(rest, left):
            anchor, meaning = left[plain_name(match[1])]
            left = {name: entry for name, entry in left.items() if entry[0] != anchor}
            link = nodes.reference("", match[0], refuri=f"{glossary}#{anchor}", internal=True,
                                   reftitle=meaning, classes=["term"])
            parts += [nodes.Text(rest[:match.start()]), link]
            rest = rest[match.end():]
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(rest)])


def first_term(text: str, terms: dict[str, tuple[str, str]]) -> re.Match[str] | None:
    """Return the first of these terms in a text, in the singular or plural, the longest first."""
    names = "|".join(re.escape(name) for name in sorted(terms, key=len, reverse=True))
    names = names.replace("'", "['’]")
    pattern = rf"(?<![\w-])({names or '(?!)'})(?:s|es)?(?![\w-])"
    return re.search(pattern, text, re.IGNORECASE)


def is_prose(node: nodes.Node) -> bool:
    """Return whether a text is neither a heading, a link, code nor an output."""
    while node := node.parent:
        if isinstance(node, UNLINKED) or (isinstance(node, nodes.Element) and "nb_element" in node):
            return False
    return True


# -- citation --------------------------------------------------------------------------------------


def add_citation(app: Sphinx, docname: str, template: str, context: dict[str, Any],
                 document: nodes.document | None) -> None:
    """Give _templates/cite.html what CITATION.cff says and the address of the page."""
    if document is not None:
        citation = (ROOT / "CITATION.cff").read_text()
        context["cited"] = dict(re.findall(r'^ *-? ?([\w-]+): "?(.+?)"?$',
                                           citation.partition("references:")[0], re.MULTILINE))
        context["cited_page"] = book_address() + app.builder.get_target_uri(docname)


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx when to call these functions."""
    app.connect("source-read", prepare_source)
    app.connect("doctree-read", describe_figures)
    app.connect("doctree-read", keep_together)
    app.connect("doctree-read", link_terms)
    app.connect("html-page-context", add_citation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
