from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora.safe_xml import Element, attribute, element_error, read_elements
from mtscale.errors import DataError
from tests.mutations import mutations

FILE = b"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE collection SYSTEM "BioC.dtd">
<collection>
  <key>Secretword</key>
  <document id="d&amp;1">
    <text>one <!-- left out --><?left out?>and &lt;two</text>
  </document>
  <document
     id="d2"><document id="inner"/></document>
</collection>
"""


def write(folder: Path, data: bytes) -> Path:
    path = folder / "corpus.xml"
    path.write_bytes(data)
    return path


def described(element: Element) -> tuple[str | None, str | None, int | None]:
    return element.get("id"), element.findtext("text"), element.sourceline


def test_elements_come_whole_with_their_line_and_without_those_inside_them(tmp_path: Path) -> None:
    elements = [(*described(one), len(one)) for one in read_elements(write(tmp_path, FILE), "document")]
    assert elements == [("d&1", "one and <two", 5, 1), ("d2", None, 9, 1)]


def test_the_root_may_be_the_element(tmp_path: Path) -> None:
    assert [one.tag for one in read_elements(write(tmp_path, FILE), "collection")] == ["collection"]


def test_other_encodings_are_read_as_declared(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<a><b id="ü"/></a>'
    for data in (text.encode("latin-1"), text.replace("ISO-8859-1", "utf-16").encode("utf-16")):
        assert [one.get("id") for one in read_elements(write(tmp_path, data), "b")] == ["ü"]


def test_beyond_line_65534_a_line_is_that_of_a_text_near_by(tmp_path: Path) -> None:
    data = b"<a>\n" + b"<x/>\n" * 70_000 + b"<b><c>text</c></b>\n<b>\n<c/></b>\n<b/>\n</a>"
    lines = [one.sourceline for one in read_elements(write(tmp_path, data), "b")]
    assert lines == [70_002, pytest.approx(70_003, abs=1), pytest.approx(70_005, abs=1)]


def test_elements_come_one_at_a_time_and_are_emptied(tmp_path: Path) -> None:
    body = b'<b id="1"><c/></b>' * 50_000
    elements = read_elements(write(tmp_path, b"<a>" + body + b"</broken>"), "b")
    first = next(elements)
    assert len(first) == 1
    second = next(elements)
    assert len(first) == 0
    next(elements)
    assert len(second) == 0
    assert second.getprevious() is None
    with pytest.raises(DataError, match=r":1: .*ERR_TAG_NAME_MISMATCH"):
        list(elements)


ENTITIES = b"".join(b'<!ENTITY e%d "%s">' % (level + 1, b"&e%d;" % level * 10) for level in range(9))
BILLION = b'<!DOCTYPE a [<!ENTITY e0 "Secretword">' + ENTITIES


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r":1: expected well-formed XML, .* found the end of the file; repair"),
        (b"Secretword", r":1: expected well-formed XML, .*found ERR_DOCUMENT_EMPTY"),
        (b"<a>\n<b>Secretword</b>\n", r":\d: expected well-formed XML, .*found ERR_TAG_NOT_FINISHED"),
        (b"<a>\n<b>Secretword</secretword></a>", r":2: .*found ERR_TAG_NAME_MISMATCH"),
        (b"<a>\n<b></b>\n</a>Secretword", r":3: .*found ERR_DOCUMENT_END"),
        (b'<a>\n<b x="1" x="Secretword"/></a>', r":2: .*found ERR_ATTRIBUTE_REDEFINED"),
        (b"<a>\n<b>Secretword\xff</b></a>", r":2: .*found ERR_INVALID"),
        (b"<a>\n<b>Secretword\x00</b></a>", r":2: .*found ERR_"),
        (b'<?xml version="1.0" encoding="Secretword"?>\n<a><b/></a>', r":1: .*found ERR_UNSUPPORTED_ENCODING"),
        (b"<a>" * 300 + b"</a>" * 300, r":1: .*found ERR_RESOURCE_LIMIT"),
        (b"<a><b>" + b"x" * 11_000_000 + b"</b></a>", r":1: .*found ERR_"),
        (b"<a>\n<b>&Secretword;</b></a>", r":2: .*found ERR_UNDECLARED_ENTITY"),
        (b'<!DOCTYPE a SYSTEM "a.dtd">\n<a><b>&Secretword;</b></a>', r":2: .*found WAR_UNDECLARED_ENTITY"),
        (b'<!DOCTYPE a SYSTEM "a.dtd">\n<a><b x="&Secretword;"/></a>', r":2: .*found WAR_UNDECLARED_ENTITY"),
        (b'<!DOCTYPE a SYSTEM "a.dtd">\n<a><b/>&Secretword;</a>', r":2: .*found WAR_UNDECLARED_ENTITY"),
        (b'<!DOCTYPE a SYSTEM "a.dtd">\n<a><b/>' + b"x" * 100_000 + b"&Secretword;</a>", r":2: .*found WAR_UNDECLARED"),
        (b'<!DOCTYPE a [<!ENTITY e "Secretword">]>\n<a><b>&e;</b></a>', r":1: .*found declarations of entities"),
        (b'<!DOCTYPE a [<!ENTITY e "Secretword">]>\n<a><b/></a>', r":1: .*found declarations of entities"),
        (b'<!DOCTYPE a SYSTEM "a.dtd" [<!ENTITY e "Secretword">]>\n<a/>', r":1: .*found declarations of entities"),
        (b'<!DOCTYPE a [<!ENTITY % e "Secretword">]>\n<a/>', r":1: .*found declarations of entities"),
        (b'<!DOCTYPE a [<!ENTITY e SYSTEM "Secretword">]>\n<a>&e;</a>', r":1: .*found declarations of entities"),
        (BILLION + b"]><a><b>&e9;</b></a>", r":1: .*found declarations of entities"),
        (BILLION + b']><a><b x="&e9;"/></a>', r":1: .*found "),
        (BILLION + b'<!ATTLIST b x CDATA "&e9;">]><a><b/></a>', r":1: .*found "),
    ],
)
def test_what_is_not_well_formed_or_needs_entities_is_one_error(tmp_path: Path, data: bytes, message: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(DataError, match=message) as caught:
        list(read_elements(path, "b"))
    assert str(caught.value).startswith(f"{path}:")
    assert "secretword" not in str(caught.value).lower()


def test_an_element_with_a_hole_for_an_entity_is_not_given(tmp_path: Path) -> None:
    path = write(tmp_path, b'<!DOCTYPE a SYSTEM "a.dtd"><a><b>one &e; two</b></a>')
    with pytest.raises(DataError, match="found WAR_UNDECLARED_ENTITY"):
        next(read_elements(path, "b"))


def test_an_entity_in_another_file_is_not_even_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # who opens it waits for ever
    path = write(tmp_path, f'<!DOCTYPE a [<!ENTITY e SYSTEM "{tmp_path}/pipe">]><a><b>&e;</b></a>'.encode())
    code = f"import pathlib, mtscale.corpora.safe_xml as x; list(x.read_elements(pathlib.Path({str(path)!r}), 'b'))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert "DataError" in ended.stderr
    assert "found declarations of entities" in ended.stderr


def test_a_file_named_by_the_document_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("Secretword")
    (tmp_path / "other.dtd").write_text('<!ENTITY e "Secretword"><!ATTLIST b x CDATA "Secretword">')
    path = write(tmp_path, f'<!DOCTYPE a SYSTEM "{tmp_path}/other.dtd"><a><b/></a>'.encode())
    (element,) = read_elements(path, "b")
    assert dict(element.attrib) == {}
    include = f'<a xmlns:x="http://www.w3.org/2001/XInclude"><b><x:include href="{tmp_path}/other.txt"/></b></a>'
    (element,) = read_elements(write(tmp_path, include.encode()), "b")
    assert "".join(element.itertext()) == ""


def test_a_compressed_file_is_not_opened_by_itself(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected well-formed XML"):
        list(read_elements(write(tmp_path, gzip.compress(b"<a><b/></a>")), "b"))


def test_what_cannot_be_opened_is_a_data_error(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.xml", tmp_path):
        with pytest.raises(DataError, match="expected a readable file"):
            list(read_elements(path, "b"))


def test_the_line_of_an_element_stands_in_its_errors(tmp_path: Path) -> None:
    path = write(tmp_path, b'<a>\n<b one="1"/>\n</a>')
    for element in read_elements(path, "b"):
        assert str(element_error(path, element, "expected more")) == f"{path}:2: expected more"
        assert attribute(path, element, "one") == "1"
        with pytest.raises(DataError, match=r"corpus\.xml:2: expected an attribute two of this element, found none"):
            attribute(path, element, "two")


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))


@settings(deadline=None, max_examples=100)
@given(texts=st.lists(st.tuples(TEXT, TEXT), max_size=5))
def test_what_is_written_is_read_back(texts: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    escapes = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
    body = "".join(f'<b id="{one.translate(escapes)}">{two.translate(escapes)}</b>\n' for one, two in texts)
    path = write(tmp_path_factory.mktemp("xml"), f"<a>{body}</a>".encode())
    assert [(one.get("id"), one.text or "") for one in read_elements(path, "b")] == texts


def test_a_damaged_file_gives_elements_or_one_error(tmp_path: Path) -> None:
    messages = []
    for data in mutations(FILE, count=400, seed=11):
        try:
            list(read_elements(write(tmp_path, data), "document"))
        except DataError as error:
            messages.append(str(error))
    assert 100 < len(messages) < 400
    assert all(message.startswith(f"{tmp_path}/corpus.xml:") for message in messages)
    assert not any("Secretword" in message for message in messages)
