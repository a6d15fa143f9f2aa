"""MkDocs hooks: links from a page to a file outside docs/ are checked, and shown as code.

In the repository such a link opens the file. The site holds no source files, so there the link's
text stays, as code; a link to a file that does not exist fails the build.
"""

import logging
import posixpath
import re
from pathlib import Path

_LOG = logging.getLogger("mkdocs.hooks.links")
_ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]*)(#[^)]*)?\)")


def on_page_markdown(markdown, page, **_):
    """MkDocs calls this function with every page."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def shown(match):
        text, target, _ = match.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("docs/"):
            return match[0]
        if not (_ROOT / path).exists():
            _LOG.warning("%s links to %s, which does not exist", page.file.src_uri, path)
        return f"`{text.strip('`')}`"

    return _LINK.sub(shown, markdown)
