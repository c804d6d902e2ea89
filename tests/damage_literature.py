"""Corpora of articles with mentions and relations, in each format that has such, to be damaged."""

from __future__ import annotations

from mtscale.tasks import Kind
from tests.damage_case import Case, make_task, place

TYPES = ("Chemical", "Disease")

# --- PubTator and BioC with relations between concepts

TITLE, ABSTRACT = "Zqé zqalfa.", "Zqbeta 😀zq zqgama zqand zqiota zqdelta. Zqeta (zqzeta) zqtheta."
BOTH = f"{TITLE} {ABSTRACT}"
MENTIONS = (
    ("zqalfa", "Chemical", "D1"),
    ("Zqbeta 😀zq", "Chemical", "D1"),
    ("zqgama zqand zqiota", "Disease", "D2|D3"),
    ("zqdelta. Zqeta", "Disease", "-1"),
    ("(zqzeta)", "Disease", "D3"),
    ("Zqbeta", "Chemical", "D4"),
    ("zqtheta", "Chemical", "D4"),
)


def _pubtator() -> str:
    lines = [f"7|t|{TITLE}", f"7|a|{ABSTRACT}"]
    for text, type_, concepts in MENTIONS:
        parts = ["zqgama|zqiota"] if "|" in concepts else []
        lines.append("\t".join(["7", *map(str, place(BOTH, text)), text, type_, concepts, *parts]))
    lines += ["7\tCID\tD1\tD2", "7\tCID\tD4\tD3", "", "x-9|t|Zqkappa", "x-9|a|", ""]
    lines += ["8|t|", "8|a|Zqlambda zqmu.", "8\t1\t9\tZqlambda\tDisease\tD5", ""]
    return "\n".join(lines)


def _bioc_concepts() -> str:
    parts = ["<?xml version='1.0' encoding='UTF-8'?>", "<!DOCTYPE collection SYSTEM 'BioC.dtd'>", "<collection>"]
    parts += ["<source>zqmade zqup</source>", "<document>", "<id>7</id>", "<passage>", "<offset>0</offset>"]
    parts += [f"<text>{TITLE}</text>", "</passage>", "<passage>", f"<offset>{len(TITLE) + 1}</offset>"]
    parts += [f"<text>{ABSTRACT}</text>"]
    for number, (text, type_, concepts) in enumerate(MENTIONS):
        start, end = place(BOTH, text)
        role = "IndividualMention" if text == "zqtheta" else "CompositeMention"
        parts += [f'<annotation id="{number}">', f'<infon key="type">{type_}</infon>']
        parts += [f'<infon key="MESH">{concepts}</infon>', f'<infon key="CompositeRole">{role}</infon>']
        parts += [f'<location offset="{start}" length="{end - start}"/>', f"<text>{text}</text>", "</annotation>"]
    parts += ["</passage>", '<relation id="R0">', '<infon key="relation">CID</infon>']
    parts += ['<infon key="Chemical">D1</infon>', '<infon key="Disease">D2</infon>', "</relation>"]
    parts += ['<relation id="R1">', '<infon key="type">CID</infon>', '<infon key="novel">No</infon>']
    parts += ['<infon key="entity2">D3</infon>', '<infon key="entity1">D1</infon>', "</relation>", "</document>"]
    for id_ in ("x-9", "8"):
        parts += [f"<document><id>{id_}</id><passage><offset>0</offset><text>Zqkappa &lt;zq&gt;</text>"]
        parts += ["</passage></document>"]
    return "\n".join([*parts, "</collection>", ""])


# --- BioC with relations between annotations

BIOC_NODES = """<collection>
<document>
<id>a.1</id>
<passage>
<offset>0</offset>
<sentence><offset>0</offset><text>Zqalfa zqbeta zqé zqgama.</text>
<annotation id="T1"><infon key="type">Chemical</infon><location offset="0" length="6"/><text>Zqalfa</text></annotation>
<annotation id="T2"><infon key="type">Disease</infon>
<location offset="7" length="6"/><location offset="18" length="6"/><text>zqbeta zqgama</text></annotation>
<annotation id="T3"><infon key="type">Disease</infon><location offset="14" length="3"/><text>zqé</text></annotation>
<annotation id="T0"><infon key="type">Indexed</infon><text>zqno zqplace</text></annotation>
<relation id="R1"><infon key="type">treats</infon><node refid="T1" role="a"/><node refid="T2" role="b"/></relation>
<relation id="R2"><infon key="type">induces</infon><node refid="T2" role="a"/><node refid="T1" role="b"/></relation>
</sentence>
<sentence><offset>30</offset><text>Zqdelta zqeta</text>
<annotation id="T4"><infon key="type">Chemical</infon>
<location offset="30" length="7"/><text>Zqdelta</text></annotation>
</sentence>
</passage>
<relation id="R3"><infon key="type">induces</infon><node refid="T4" role="a"/><node refid="T3" role="b"/></relation>
<relation id="R4"><infon key="type">joins</infon><node refid="T2" role="a"/><node refid="T3" role="b"/></relation>
<relation id="R5"><infon key="type">zqevent</infon><node refid="R3" role="a"/><node refid="T3" role="b"/></relation>
</document>
<document><id>a.2</id><passage><offset>5</offset></passage></document>
<document><id>a.3</id><passage><offset>0</offset><text>Zqkappa</text></passage></document>
</collection>
"""

# --- BRAT

BRAT_TEXT = "Zqtitle zqè\n\nZqalfa zqbeta zqgama zqdelta. Zqeps 😀zq\nzqeta.\r\nZqtheta zqiota"
BRAT_MENTIONS = (
    ("Chemical", "Zqalfa"),
    ("Disease", "zqbeta", "zqdelta"),
    ("Disease", "zqgama"),
    ("Disease", "zqdelta. Zqeps"),
    ("Chemical", "😀zq\nzqeta"),
    ("Chemical", "zqè"),
)


def _brat() -> str:
    lines = []
    for number, (type_, *parts) in enumerate(BRAT_MENTIONS, start=1):
        offsets = ";".join("{} {}".format(*place(BRAT_TEXT, part)) for part in parts)
        lines.append(f"T{number}\t{type_} {offsets}\t{' '.join(parts)}".replace("\n", " "))
    lines += ["R1\tinduces Arg1:T1 Arg2:T3\t", "R2\ttreats Arg1:T3 Arg2:T1", "R3\ttreats Arg1:T5 Arg2:T2"]
    lines += ["R4\tjoins Arg1:T2 Arg2:T3", "R5\ttreats Arg1:E1 Arg2:T1", "E1\tInduces:T1 Theme:T3", "A1\tNegated T1"]
    lines += ["N1\tReference T1 base:D1\tzqalfa", "#1\tAnnotatorNotes T1\tzqnote zqon zqit", "*\tEquiv T2 T3", ""]
    return "\n".join(lines)


# --- ChemProt

CHEMPROT = {
    "train_abstracts.tsv": "12\tZqé ZQGEN.\tZqalfa zqbeta ZQRNA zqand 😀zq. Zqgama zqdelta ZQDNA.\n7\tZqno.\tZqtext.\n",
    "train_entities.tsv": (
        "12\tT1\tCHEMICAL\t11\t17\tZqalfa\n"
        "12\tT2\tCHEMICAL\t18\t24\tzqbeta\n"
        "12\tT3\tGENE-Y\t25\t30\tZQRNA\n"
        "12\tT4\tGENE-N\t37\t40\t😀zq\n"
        "12\tT5\tCHEMICAL\t42\t56\tZqgama zqdelta\n"
        "12\tT6\tGENE-Y\t57\t62\tZQDNA\n"
        "12\tT7\tGENE-Y\t4\t9\tZQGEN\n"
        "12\tT8\tGENE-N\t18\t24\tzqbeta\n"
    ),
    "train_gold_standard.tsv": (
        "12\tCPR:3\tArg1:T1\tArg2:T3\n"
        "12\tCPR:4\tArg1:T1\tArg2:T3\n"
        "12\tCPR:9\tArg1:T5\tArg2:T7\n"
        "12\tCPR:1\tArg1:T2\tArg2:T4\n"
        "12\tCPR:4\tArg1:T5\tArg2:T6\n"
    ),
}

# --- DDI

DDI_FIRST = """<?xml version="1.0" encoding="UTF-8"?>
<document id="DDI-MedLine.d1">
<sentence id="DDI-MedLine.d1.s0" text="Zqé."/>
<sentence id="DDI-MedLine.d1.s1" text=""/>
<sentence id="DDI-MedLine.d1.s2" text="Zqalfa zqbeta- zqand zqgama-zqdelta &amp; 😀zq. ">
<entity id="DDI-MedLine.d1.s2.e0" charOffset="0-5"
type="drug_n" text="Zqalfa"/>
<entity id="DDI-MedLine.d1.s2.e1" charOffset="7-13;28-34" type="group" text="zqbeta- zqdelta"/>
<entity id="DDI-MedLine.d1.s2.e2" charOffset="21-34" type="group" text="zqgama-zqdelta"/>
<entity id="DDI-MedLine.d1.s2.e3" charOffset="38-40" type="brand" text="😀zq"/>
<pair id="DDI-MedLine.d1.s2.p0" e1="DDI-MedLine.d1.s2.e0"
e2="DDI-MedLine.d1.s2.e1" ddi="true" type="mechanism"/>
<pair id="DDI-MedLine.d1.s2.p1" e1="DDI-MedLine.d1.s2.e1" e2="DDI-MedLine.d1.s2.e2" ddi="false"/>
<pair id="DDI-MedLine.d1.s2.p2" e1="DDI-MedLine.d1.s2.e0" e2="DDI-MedLine.d1.s2.e3" ddi="true" type="int"/>
</sentence>
</document>
"""
DDI_SECOND = """<document id="DDI-DrugBank.d236"><sentence id="DDI-DrugBank.d236.s29" text="Zqeta zqiota">
<entity id="e0" charOffset="0-4" type="drug" text="Zqeta"/><entity id="e1" charOffset="6-11" type="drug" text="zqiota"/>
<pair id="DDI-DrugBank.d236.s29.p0" e1="e0" e2="e1" ddi="true"/></sentence></document>
"""
DDI_LABELS = ("advise", "effect", "int", "mechanism", "false")
DDI_TYPES = ("drug", "brand", "group", "drug_n")

# --- the cases

_ABOUT_CONCEPTS = ("induces", "none")
_ABOUT_ANNOTATIONS = ("induces", "treats", "none")

CASES = (
    Case(
        "pubtator",
        "documents",
        {"corpus.txt": _pubtator()},
        (
            make_task(Kind.TAGGING, "pubtator", ["corpus.txt"], *TYPES, dev_fraction=0.4),
            make_task(
                Kind.RELATION,
                "pubtator",
                ["corpus.txt"],
                *_ABOUT_CONCEPTS,
                arguments=TYPES,
                relation="CID",
                candidates="closest",
            ),
            make_task(Kind.RELATION, "pubtator", ["corpus.txt"], "CID", "none", arguments=("Chemical", "Chemical")),
        ),
    ),
    Case(
        "bioc",
        "concepts",
        {"corpus.xml": _bioc_concepts()},
        (
            make_task(Kind.TAGGING, "bioc", ["corpus.xml"], *TYPES, dev_fraction=0.4),
            make_task(
                Kind.RELATION,
                "bioc",
                ["corpus.xml"],
                *_ABOUT_CONCEPTS,
                arguments=TYPES,
                relation="CID",
                candidates="closest",
            ),
        ),
    ),
    Case(
        "bioc",
        "annotations",
        {"corpus.xml": BIOC_NODES},
        (
            make_task(Kind.TAGGING, "bioc", ["corpus.xml"], *TYPES, folds=3),
            make_task(Kind.RELATION, "bioc", ["corpus.xml"], *_ABOUT_ANNOTATIONS, arguments=TYPES),
            make_task(Kind.RELATION, "bioc", ["corpus.xml"], "joins", "none", arguments=("Disease", "Disease")),
        ),
    ),
    Case(
        "brat",
        "folder",
        {
            "mine/d1.txt": BRAT_TEXT,
            "mine/d1.ann": _brat(),
            "mine/d2.txt": "Zqone zqtwo.\n",
            "mine/d2.ann": "T1\tDisease 6 11\tzqtwo\n",
        },
        (
            make_task(Kind.TAGGING, "brat", ["mine"], *TYPES, dev_fraction=0.5),
            make_task(Kind.RELATION, "brat", ["mine"], *_ABOUT_ANNOTATIONS, arguments=TYPES),
            make_task(
                Kind.RELATION, "brat", ["mine"], "related", "none", arguments=("Disease", "Disease"), relation="joins"
            ),
        ),
    ),
    Case(
        "chemprot",
        "folder",
        {f"train/{name}": content for name, content in CHEMPROT.items()},
        (
            make_task(
                Kind.RELATION,
                "chemprot",
                ["train"],
                *("CPR:3", "CPR:4", "CPR:5", "CPR:6", "CPR:9", "false"),
                arguments=("CHEMICAL", "GENE"),
            ),
            make_task(Kind.TAGGING, "chemprot", ["train"], "CHEMICAL", "GENE", dev_fraction=0.5),
        ),
    ),
    Case(
        "ddi",
        "folder",
        {"Train/MedLine/one.xml": DDI_FIRST, "Train/DrugBank/two.xml": DDI_SECOND},
        (
            make_task(Kind.RELATION, "ddi", ["Train"], *DDI_LABELS, arguments=("drug", "drug")),
            make_task(Kind.TAGGING, "ddi", ["Train"], *DDI_TYPES, dev_fraction=0.5),
        ),
    ),
)
