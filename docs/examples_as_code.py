"""Examples in docstrings (`>>>`) become blocks of code in the manual; to Markdown alone they would be quotations."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n(?:^[ ]*\S.*(?:\n|\Z))*)+", re.M)


def fenced(text: str) -> str:
    """The text with its examples between fences.

    >>> print(fenced("Twice.\\n\\n>>> 2 * 3\\n6\\n"))
    Twice.
    <BLANKLINE>
    ```pycon
    >>> 2 * 3
    6
    ```
    <BLANKLINE>
    """
    return EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text + "\n")


class ExamplesAsCode(griffe.Extension):
    """What mkdocstrings calls for every object that it documents."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
