"""How the documentation is built."""

project = "trustrace"
author = "The trustrace authors"
copyright = "2026, the trustrace authors"  # noqa: A001
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
html_theme = "furo"
html_title = "trustrace"
exclude_patterns = ["_build"]
nitpicky = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"
