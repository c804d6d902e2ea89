"""XML read one element at a time, without opening, fetching or expanding anything but the file itself.

A ``<!DOCTYPE collection SYSTEM "BioC.dtd">`` that only names a DTD is allowed; the DTD is not loaded. A document that
declares entities of its own, the way of "billion laughs", or uses some that only a DTD could declare is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from lxml import etree

from mtscale.errors import DataError

Element: TypeAlias = etree._Element


def read_elements(path: Path, tag: str) -> Iterator[Element]:
    """The elements of a tag, one at a time; one inside another belongs to the outer one and is not given by itself.

    An element is whole when it is given. It is emptied when the next one is drawn, so that memory does not grow with
    the file. Comments and processing instructions are left out.

    Raises:
        DataError: the file cannot be opened, is not well-formed XML, or declares or needs entities, with file and line.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from None
    with file:
        # A file object, not a name: libxml2 would open an address or a compressed file by its name.
        events = etree.iterparse(
            file,
            events=("start", "end"),
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        try:
            yield from _outermost(path, events, tag)
        except etree.XMLSyntaxError:
            raise _complaint(path, events) from None


def element_error(path: Path, element: Element, message: str) -> DataError:
    """An error that names the line where an element's start tag ends.

    The parser keeps lines up to 65,534; further down it is the line where a text in the element, or next to it, ends.
    """
    return DataError(f"{path}:{element.sourceline}: {message}")


def attribute(path: Path, element: Element, name: str) -> str:
    """The value of an attribute that an element must have.

    Raises:
        DataError: the element lacks it, with file and line.
    """
    value = element.get(name)
    if value is None:
        raise element_error(path, element, f"expected an attribute {name} of this element, found none")
    return value


def _outermost(path: Path, events: etree.iterparse, tag: str) -> Iterator[Element]:
    depth = 0
    root_seen = False
    for event, element in events:
        if not root_seen:
            _refuse_declarations(path, element)
            root_seen = True
        if element.tag != tag:
            continue
        depth += 1 if event == "start" else -1
        if event == "end" and depth == 0:
            _refuse_warnings(path, events)
            yield element
            _forget(element)
    _refuse_warnings(path, events)


def _refuse_declarations(path: Path, root: Element) -> None:
    dtd = root.getroottree().docinfo.internalDTD
    if dtd is not None and any(dtd.iterentities()):  # type: ignore[attr-defined]  # the stubs lack it
        raise DataError(
            f"{path}:1: expected a document type that only names a DTD, found declarations of entities; "
            "write out the entities and remove the declarations"
        )


def _refuse_warnings(path: Path, events: etree.iterparse) -> None:
    """Where a DTD is named the parser only warns of an entity it does not know, and leaves it out of the text."""
    if events.error_log:
        raise _complaint(path, events)


def _forget(element: Element) -> None:
    """Empty an element and drop what stands before it, so that the tree does not grow."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _complaint(path: Path, events: etree.iterparse) -> DataError:
    # The name of the parser's complaint and not its message, which may quote the file. An empty file gives none.
    complaint = next(iter(events.error_log), None)
    line, name = (complaint.line, complaint.type_name) if complaint else (1, "the end of the file")
    return DataError(
        f"{path}:{line}: expected well-formed XML, with no entities but &amp; &lt; &gt; &quot; &apos;, found {name}; "
        "repair the file or fetch it again"
    )
