from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import pubtator
from mtscale.corpora.blue import MAX_GAP, read_examples, read_gold
from mtscale.corpora.example import PairExample, RelationExample, Span, TaggedExample
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS, Task

CORPORA = os.environ.get("MTSCALE_TEST_CORPORA")

DISEASE = replace(TASKS["bc5cdr-disease"], format="blue")
DDI = replace(TASKS["ddi2013"], format="blue", arguments=None)
CHEMPROT = replace(TASKS["chemprot"], format="blue", arguments=None)
MEDNLI = replace(TASKS["mednli"], format="blue")
STS = replace(TASKS["biosses"], format="blue", folds=None)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "test.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def in_tabs(rows: Iterable[Sequence[object]]) -> str:
    text = StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(rows)
    return text.getvalue()


def gold(task: Task, *paths: Path) -> dict[str, object]:
    return {item.id: item.value for item in read_gold(task, paths)}


# --- tagging

TAGGED = (
    "Severe\tn1\t3\tO\nheart\t-\t10\tB\nblock\t-\t16\tI\n.\t-\t21\tO\n\n\n"
    'No\tn1\t23\tO\n""""\t-\t26\tO\nrigor\t-\t27\tB\n"\t-\t32\tO\n\n'
    "Calm\tn2\t0\tO\n\n"
)


def test_words_are_laid_at_their_offsets(tmp_path: Path) -> None:
    examples = list(read_examples(DISEASE, [write(tmp_path, TAGGED)]))
    assert examples == [
        TaggedExample(
            id="n1.s0",
            document="n1",
            text="Severe heart block.",
            offset=3,
            spans=(Span(10, 21, "Disease"),),
            words=((3, 9), (10, 15), (16, 21), (21, 22)),
        ),
        TaggedExample(
            "n1.s1", "n1", 'No "rigor"', 23, (Span(27, 32, "Disease"),), ((23, 25), (26, 27), (27, 32), (32, 33))
        ),
        TaggedExample("n2.s0", "n2", "Calm", 0, (), ((0, 4),)),
    ]
    heart, rigor = Span(10, 21, "Disease"), Span(27, 32, "Disease")
    assert gold(DISEASE, write(tmp_path, TAGGED)) == {"n1": frozenset({heart, rigor}), "n2": frozenset()}


def spans(task: Task, folder: Path, *sentences: str) -> tuple[list[list[tuple[int, int]]], set[tuple[int, int]]]:
    """The spans of each sentence's example and the gold, of one-letter words with the given tags at 0, 2, 4 ..."""
    place, lines = 0, []
    for sentence in sentences:
        for number, tag in enumerate(sentence.split()):
            lines.append(f"x\t{'-' if number else 'd'}\t{place}\t{tag}\n")
            place += 2
        lines.append("\n")
    path = write(folder, "".join(lines))
    examples = [example for example in read_examples(task, [path]) if isinstance(example, TaggedExample)]
    (item,) = read_gold(task, [path])
    assert isinstance(item.value, frozenset)
    return [[(one.start, one.end) for one in example.spans] for example in examples], {
        (one.start, one.end) for one in item.value
    }


def test_what_the_tags_say(tmp_path: Path) -> None:
    assert spans(DISEASE, tmp_path, "B I B O B") == ([[(0, 3), (4, 5), (8, 9)]], {(0, 3), (4, 5), (8, 9)})
    discontinuous = [(0, 3), (6, 7)]
    assert spans(DISEASE, tmp_path, "B I O I") == ([discontinuous], set(discontinuous))
    assert spans(DISEASE, tmp_path, "I O") == ([[(0, 1)]], {(0, 1)})
    across = spans(DISEASE, tmp_path, "O B I", "I O", "I")
    assert across == ([[], [], [(10, 11)]], {(2, 7), (10, 11)})


def test_tags_may_name_the_type(tmp_path: Path) -> None:
    both = replace(DISEASE, labels=("Disease", "Sign-or-Symptom"))
    path = write(tmp_path, "a\td\t0\tB-Disease\nb\t-\t2\tI-Sign-or-Symptom\nc\t-\t4\tI-Sign-or-Symptom\n")
    assert gold(both, path) == {"d": frozenset({Span(0, 1, "Disease"), Span(2, 5, "Sign-or-Symptom")})}
    with pytest.raises(DataError, match=r":1: .*one of the tags O, B, I, B-Disease, I-Disease, found another"):
        gold(DISEASE, write(tmp_path, "a\td\t0\tB-Chemical\n"))
    with pytest.raises(DataError, match=r":1: .*tags O, B-Disease, I-Disease, B-Sign-or-Symptom, I-Sign-or-Symptom,"):
        gold(both, write(tmp_path, "a\td\t0\tB\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"test\.tsv: expected at least one sentence, found an empty file"),
        ("\n \n", r"test\.tsv: expected at least one sentence"),
        ("Secretword\td\t0\n", r":1: expected 4 columns .*found 3"),
        ("Secretword\td\t0\tO\t\n", r":1: expected 4 columns .*found 5"),
        ("\td\t0\tO\n", r":1: expected a token and a document's id"),
        ("Secretword\t\t0\tO\n", r":1: expected a token and a document's id"),
        ("Secretword\td\x00\t0\tO\n", r":1: expected a token and a document's id"),
        ("Secretword\td\t0.5\tO\n", r":1: expected a whole number of up to 9 digits as offset in column 3"),
        ("Secretword\td\t-1\tO\n", r":1: expected a whole number"),
        (f"Secretword\td\t{'9' * 5000}\tO\n", r":1: expected a whole number"),
        ("Secretword\td\t0\tB-\n", r":1: task bc5cdr-disease: expected one of the tags O, B, I,"),
        ("Secretword\td\t0\tX\n", r":1: task bc5cdr-disease: expected one of the tags O, B, I,"),
        ("Secretword\t-\t0\tO\n", r":1: expected the document's id at a sentence's first token, found -"),
        ("Secretword\td\t0\tO\nb\td\t11\tO\n", r":2: expected - in the document column inside a sentence"),
        ("Secretword\td\t0\tO\nb\t-\t9\tO\n", r":2: expected an offset of at least 10, .* found 9"),
        ("Secretword\td\t0\tO\n\nb\td\t9\tO\n", r":3: expected an offset of at least 10, .* found 9"),
        ("Secretword\td\t0\tO\nb\t-\t10011\tO\n", r":2: expected an offset of at most 10010, .* found 10011"),
        ("Secretword\td\t0\tO\n\nb\te\t0\tO\n\nc\td\t20\tO\n", r":5: this document has occurred before"),
        ("Secretword\td\t0\tO", r":1: expected a line end"),
        ("Secretword\td\t0\tO\nü\t-\t11\tO\n".encode("latin-1"), r":2: expected UTF-8"),
    ],
)
def test_malformed_tags_are_one_error_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^(?!.*Secretword).*{message}"):
        list(read_examples(DISEASE, [write(tmp_path, text)]))


def test_gaps_between_sentences_may_be_long_and_a_document_is_in_one_file(tmp_path: Path) -> None:
    path = write(tmp_path, f"a\td\t0\tO\nb\t-\t{MAX_GAP + 1}\tB\n\nc\td\t900000000\tB\n")
    assert len(list(read_examples(DISEASE, [path]))) == 2
    with pytest.raises(DataError, match=r":1: this document has occurred before"):
        list(read_examples(DISEASE, [path, path]))


# --- relations

RELATION_HEAD = "index\tsentence\tlabel\n"


def test_labels_of_relations_may_have_a_prefix(tmp_path: Path) -> None:
    text = RELATION_HEAD + (
        "DDI-Bank.d7.s0.p1\t@DRUG$ may lower @DRUG$.\tDDI-effect\n"
        'DDI-Bank.d7.s1.p0\t"The ""best"" @DRUG$-@DRUG$ ever."\tDDI-false\n'
        "DDI-Bank.d8.s0.p0\tBoth @DRUG$ and @DRUG$.\tadvise\n"
    )
    assert list(read_examples(DDI, [write(tmp_path, text)])) == [
        RelationExample("DDI-Bank.d7.s0.p1", "DDI-Bank.d7", "@DRUG$ may lower @DRUG$.", 0, None, ("effect",)),
        RelationExample("DDI-Bank.d7.s1.p0", "DDI-Bank.d7", 'The "best" @DRUG$-@DRUG$ ever.', 0, None, ("false",)),
        RelationExample("DDI-Bank.d8.s0.p0", "DDI-Bank.d8", "Both @DRUG$ and @DRUG$.", 0, None, ("advise",)),
    ]
    prefixed = replace(DDI, labels=("DDI-effect", "effect"), negative="effect")
    assert gold(prefixed, write(tmp_path, f"{RELATION_HEAD}a\tb\tDDI-effect\n")) == {"a": ("DDI-effect",)}


def test_a_pair_in_two_rows_is_one_example_with_both_labels(tmp_path: Path) -> None:
    rows = [
        ("11.T1.T2", "@CHEMICAL$ on @GENE$", "CPR:4"),
        ("11.T1.T2", "@CHEMICAL$ on @GENE$", "CPR:9"),
        ("11.T1.T3", "@CHEM-GENE$ off", "CPR:3"),
        ("11.T1.T3", "@CHEM-GENE$ off", "CPR:3"),
        ("12.T1.T2", "@CHEMICAL$ off", "false"),
    ]
    path = write(tmp_path, RELATION_HEAD + in_tabs(rows))
    assert list(read_examples(CHEMPROT, [path])) == [
        RelationExample("11.T1.T2", "11", "@CHEMICAL$ on @GENE$", 0, None, ("CPR:4", "CPR:9")),
        RelationExample("11.T1.T3", "11", "@CHEM-GENE$ off", 0, None, ("CPR:3",)),
        RelationExample("12.T1.T2", "12", "@CHEMICAL$ off", 0, None, ("false",)),
    ]
    assert gold(CHEMPROT, path)["11.T1.T2"] == ("CPR:4", "CPR:9")
    unnamed = write(tmp_path, "sentence\tlabel\n@CHEMICAL$\tfalse\n@CHEMICAL$\tfalse\n")
    assert gold(CHEMPROT, unnamed) == {"1": ("false",), "2": ("false",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"test\.tsv: expected a header line"),
        (RELATION_HEAD, r"test\.tsv: expected rows"),
        ("index\tsentence\n1\tSecretword\n", r":1: .*missing: label"),
        (f"{RELATION_HEAD}a\tSecretword\tDDI-nothing\n", r":2: .*one of the labels advise, .* found another"),
        (f"{RELATION_HEAD}a\tSecretword\tx-DDI-int\n", r":2: .*one of the labels advise, .* found another"),
        (f"{RELATION_HEAD}a\tSecretword\tint\nb\tx\tint\na\tx\tint\n", r":4: .*occurred before with other values"),
        (f'{RELATION_HEAD}a\t"Secretword\tint\n', r":2: expected a record as RFC 4180 has it"),
    ],
)
def test_malformed_relations_are_one_error_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^(?!.*Secretword).*{message}"):
        list(read_examples(DDI, [write(tmp_path, text)]))


# --- pairs

PAIR = PairExample("p1", "p1", "No pain.", "Pain is absent.", "entailment")


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (MEDNLI, "index\tsentence1\tsentence2\tlabel\np1\tNo pain.\tPain is absent.\tentailment\n"),
        (MEDNLI, "label\tindex\tsentence1\tsentence2\nentailment\tp1\tNo pain.\tPain is absent.\n"),
        (MEDNLI, "p1\tNo pain.\tPain is absent.\tentailment\n"),
        (MEDNLI, "entailment\tp1\tNo pain.\tPain is absent.\n"),
        (
            replace(MEDNLI, columns={"label": "gold", "index": "id", "sentence1": "one", "sentence2": "two"}),
            "gold\tid\ttwo\tone\nentailment\tp1\tPain is absent.\tNo pain.\n",
        ),
    ],
    ids=["as written", "as read", "no header", "no header, label first", "other names"],
)
def test_columns_of_inference_are_found_by_name_or_by_content(tmp_path: Path, task: Task, text: str) -> None:
    path = write(tmp_path, text)
    assert list(read_examples(task, [path])) == [PAIR]
    assert gold(task, path) == {"p1": "entailment"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"test\.tsv: expected a header line"),
        ("index\tsentence1\tsentence2\n1\tSecretword\tb\n", r":1: .*missing: label"),
        ("1\tSecretword\tneutral\n", r":1: expected 4 columns .*found 3"),
        ("1\tSecretword\tb\tneutral\n2\tx\ty\tmaybe\n", r":2: .*no column of labels only"),
        ("gold\tid\tone\ttwo\nneutral\t1\tSecretword\ty\n", r":1: .*columns index, sentence1, .*no column of labels"),
        ("1\tneutral\tSecretword\tneutral\n", r"test\.tsv: expected one column .* found 2; add a header"),
        ("1\tSecretword\tb\tneutral\n1\tSecretword\tc\tneutral\n", r":2: this index has occurred before"),
    ],
)
def test_unclear_columns_of_inference_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^(?!.*Secretword).*{message}"):
        list(read_examples(MEDNLI, [write(tmp_path, text)]))


STS_HEAD = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
STS_CELLS = "\tg\tf\t1\t1\ts\ts\t"


def test_similarity_takes_the_last_three_of_at_least_nine_columns(tmp_path: Path) -> None:
    text = f'{STS_HEAD}7{STS_CELLS}"a\tb"\tc\t3.5\n9{STS_CELLS}d\te\t0\n'
    assert list(read_examples(STS, [write(tmp_path, text)])) == [
        PairExample("7", "7", "a\tb", "c", 3.5),
        PairExample("9", "9", "d", "e", 0.0),
    ]
    unnamed = "\t" + "\t".join("abcdef") + f"\tfirst\tsecond\tvalue\n0{STS_CELLS}d\te\t2\n"
    assert gold(STS, write(tmp_path, unnamed)) == {"1": 2.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index\tsentence1\tsentence2\tscore\n1\tSecretword\tb\t2\n", r":1: expected at least 9 columns .*found 4"),
        (f"7{STS_CELLS}Secretword\tb\t3\n", r":1: expected a header, found a number"),
        (f"{STS_HEAD}7{STS_CELLS}Secretword\tb\n", r":2: expected 10 columns.* found 9"),
        (f"{STS_HEAD}7{STS_CELLS}Secretword\tb\t4.5\n", r":2: .*expected a score from 0.0 to 4.0"),
        (STS_HEAD.replace("genre", "index") + f"7{STS_CELLS}Secretword\tb\t3\n", r":1: .*more than once: index"),
    ],
)
def test_malformed_similarity_is_one_error_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^(?!.*Secretword).*{message}"):
        list(read_examples(STS, [write(tmp_path, text)]))


def test_columns_of_no_role_are_refused_at_once(tmp_path: Path) -> None:
    for task in (DDI, MEDNLI, STS):
        with pytest.raises(ConfigError, match=rf"task {task.name}: expected in columns the roles index"):
            read_examples(replace(task, columns={"token": "0"}), [tmp_path / "absent.tsv"])
    for read in (read_examples, read_gold):
        with pytest.raises(ConfigError, match=r"bc5cdr-disease: expected no columns, .* found token; format conll"):
            read(replace(DISEASE, columns={"token": "0"}), [tmp_path / "absent.tsv"])


# --- round trips

TOKEN = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=6)


@st.composite
def tagged_sentences(draw: st.DrawFn) -> list[TaggedExample]:
    examples = []
    for document in draw(
        st.lists(st.from_regex(r"[a-z0-9.]{2,9}", fullmatch=True), min_size=1, max_size=3, unique=True)
    ):
        place = draw(st.integers(0, 5))
        for number in range(draw(st.integers(1, 3))):
            offset, text, words, mentions, after_mention = place, "", [], [], False
            for token in draw(st.lists(TOKEN, min_size=1, max_size=6)):
                gap = draw(st.integers(0, 3)) if text else 0
                place += gap
                text += " " * gap + token
                words.append((place, place + len(token)))
                place += len(token)
                tag = draw(st.sampled_from("OBI" if after_mention else "OB"))
                after_mention = tag != "O"
                if tag == "B":
                    mentions.append(Span(*words[-1], "Disease"))
                elif tag == "I":
                    mentions[-1] = replace(mentions[-1], end=place)
            examples.append(
                TaggedExample(f"{document}.s{number}", document, text, offset, tuple(mentions), tuple(words))
            )
    return examples


def in_blue(examples: Iterable[TaggedExample]) -> str:
    text = ""
    for example in examples:
        assert example.words is not None
        for number, (start, end) in enumerate(example.words):
            inside = [span for span in example.spans if span.start <= start < span.end]
            tag = "O" if not inside else "B" if inside[0].start == start else "I"
            token = example.text[start - example.offset : end - example.offset]
            text += in_tabs([(token, "-" if number else example.document, start, tag)])
        text += "\n"
    return text


@settings(deadline=None, max_examples=100)
@given(examples=tagged_sentences())
def test_tags_are_read_back(examples: list[TaggedExample], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("blue"), in_blue(examples))
    assert list(read_examples(DISEASE, [path])) == examples
    mentions = [(document, span) for document, value in gold(DISEASE, path).items() for span in value]
    assert sorted(mentions) == sorted((one.document, span) for one in examples for span in one.spans)


# --- BC5CDR, prepared here as BLUE prepares it

_TOKEN = re.compile(r"""[\w']+|[!"#$%&'()*+,\-./:;<=>?@\[\]^_`{|}~]""")


@pytest.mark.skipif(CORPORA is None, reason="MTSCALE_TEST_CORPORA names no folder of corpora")
@pytest.mark.parametrize(("label", "mentions", "equal"), [("Disease", 4424, 4424), ("Chemical", 5385, 5377)])
def test_a_prepared_corpus_has_the_mentions_of_the_original(
    tmp_path: Path, label: str, mentions: int, equal: int
) -> None:
    assert CORPORA is not None
    text, truth = "", set()
    for document in pubtator.read_documents(Path(CORPORA) / "bc5cdr" / "CDR_TestSet.PubTator.txt"):
        sentences = [list(_TOKEN.finditer(document.text, *bounds)) for bounds in document.sentences()]
        places = [token.span() for sentence in sentences for token in sentence]
        tags: dict[int, str] = {}
        for mention in (mention for mention in document.mentions if mention.type == label):
            truth.add((document.id, Span(mention.start, mention.end, label)))
            inside = [start for start, end in places if mention.start <= start and end <= mention.end]
            around = [start for start, end in places if start <= mention.start and mention.end <= end]
            tags |= {start: "I" if number else "B" for number, start in enumerate(inside or around)}
        for sentence in sentences:
            cells = [(token[0], document.id, token.start(), tags.get(token.start(), "O")) for token in sentence]
            text += in_tabs([cells[0], *((token, "-", start, tag) for token, _, start, tag in cells[1:])]) + "\n"
    gold_items = read_gold(replace(DISEASE, labels=(label,)), [write(tmp_path, text)])
    read = {(item.id, span) for item in gold_items if isinstance(item.value, frozenset) for span in item.value}
    assert len(read) == text.count("\tB\n") == len(truth) == mentions
    # The rest begins or ends inside a token, where only the whole token can be tagged.
    assert len(read & truth) == equal
