"""What the website does to the repository's pages: links to what is no page lead to the repository."""

import posixpath
import re

LINK = re.compile(r'(?<=\]\()(?!https?:|#)([^)#\s]+)')


def on_page_markdown(markdown, page, config, files):
    folder = posixpath.dirname(page.file.src_path)

    def target(match):
        path = posixpath.normpath(posixpath.join(folder, match[1]))
        for name in (path, path + '/README.md'):
            if files.get_file_from_path(name):
                return posixpath.relpath(name, folder or '.')
        return f'{config.repo_url}/blob/main/{path}'

    return LINK.sub(target, markdown)
