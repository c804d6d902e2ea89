"""Knowtator XML as eHOST writes it: mentions in one or several parts, and classes linked to them by an id.

    <annotations textSource="REPORT.txt">
        <annotation>
            <mention id="EHOST_Instance_1" />
            <span start="85" end="96" />
            <span start="111" end="118" />
            <spannedText>left atrium ... dilated</spannedText>
        </annotation>
        <classMention id="EHOST_Instance_1">
            <hasSlotMention id="EHOST_Instance_2" />
            <mentionClass id="Disease_Disorder">left atrium ... dilated</mentionClass>
        </classMention>
    </annotations>

Slots (concept ids and other attributes), annotators and dates are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

from mtscale.corpora.lines import Line
from mtscale.corpora.safe_xml import Element, read_elements
from mtscale.errors import DataError

_OFFSET = re.compile(r"[0-9]{1,9}")


class Annotation(NamedTuple):
    """A mention's class, its parts in the file's order, the text the file gives for it, and where it stands."""

    line: Line
    type: str
    parts: tuple[tuple[int, int], ...]
    text: str


def read_annotations(path: Path) -> list[Annotation]:
    """The mentions of a file; ``text`` is empty where the file gives none.

    Raises:
        DataError: the file is no such XML, or a mention lacks its class or its parts, with file and line.
    """
    annotations: list[Annotation] = []
    roots = 0
    for root in read_elements(path, "annotations"):
        roots += 1
        annotations += _annotations(root, path)
    if roots != 1:
        raise DataError(f"{path}:1: expected one element annotations, found {roots}")
    return annotations


def _annotations(root: Element, path: Path) -> Iterator[Annotation]:
    classes: dict[str, str] = {}
    for element in root.iterfind("classMention"):
        line = _line(path, element)
        mention = _attribute(element, line, "id")
        if mention in classes:
            raise line.error("expected one class of a mention, found a second classMention of one id")
        classes[mention] = _child(element, line, "mentionClass")
    for element in root.iterfind("annotation"):
        line = _line(path, element)
        mention = _child(element, line, "mention")
        if mention not in classes:
            raise line.error("expected a classMention for the annotation's mention, found none with its id")
        parts = tuple((_offset(span, line, "start"), _offset(span, line, "end")) for span in element.iterfind("span"))
        if not parts:
            raise line.error("expected at least one span in the annotation, found none")
        yield Annotation(line, classes[mention], parts, element.findtext("spannedText") or "")


def _line(path: Path, element: Element) -> Line:
    return Line(path, cast(int, element.sourceline), "")


def _child(element: Element, line: Line, tag: str) -> str:
    """The id of the one child with a tag."""
    children = element.findall(tag)
    if len(children) != 1:
        raise line.error(f"expected one element {tag} in this element, found {len(children)}")
    return _attribute(children[0], line, "id")


def _offset(span: Element, line: Line, name: str) -> int:
    value = _attribute(span, line, name)
    if not _OFFSET.fullmatch(value):
        raise line.error(f"expected a whole number as {name} of a span, found something else")
    return int(value)


def _attribute(element: Element, line: Line, name: str) -> str:
    value = element.get(name)
    if value is None:
        raise line.error(f"expected an attribute {name}, found an element without")
    return value
