"""Settings of the book. tools/build_book.py gathers its pages and runs Sphinx with this file."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "tools"), str(ROOT)]

from address import book_address, repository  # noqa: E402

project = "X-ray slices, a U-Net, and noise"
author = "the authors of xray-unet-notebooks"
copyright = f"2026, {author}. BSD-3-Clause"
language = "en"

extensions = ["myst_nb", "pages"]  # pages.py, beside this file
exclude_patterns = ["README.md"]  # index.md and start.md include parts of it
templates_path = ["_templates"]
suppress_warnings = ["misc.highlighting_failure"]  # reports that notebooks show as code

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks hold their outputs
nb_ipywidgets_js = {}  # pages.py puts links in place of sliders, so nothing is fetched for them
nb_render_markdown_format = "myst"
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"

html_theme = "sphinx_book_theme"
html_title = project
html_baseurl = book_address()
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark as the reader's system says
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_use_index = False
html_domain_indices = False
html_sourcelink_suffix = ""
html_theme_options = {
    "repository_url": f"https://github.com/{repository()}",
    "repository_branch": "main",
    "use_repository_button": True,
    "use_issues_button": True,
    "use_download_button": True,
    "launch_buttons": {
        "colab_url": "https://colab.research.google.com",
        "binderhub_url": "https://mybinder.org",
        "notebook_interface": "jupyterlab",
    },
    "navbar_persistent": [],  # the search field is in the sidebar
    "show_toc_level": 2,
    "footer_content_items": ["copyright.html"],
    "article_footer_items": ["cite.html"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
