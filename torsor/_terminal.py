"""Text that is safe to show on a terminal."""


def visible(text: str) -> str:
    r"""The text with what is no character to read, such as an escape or a line break, as Python writes it.

    Names come from the files of other people, and a terminal obeys what is in them.

    >>> print(visible("café \x1b[31m\n"))
    café \x1b[31m\n
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
