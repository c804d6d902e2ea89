"""Tasks: a corpus, a kind, labels, a primary metric, a domain and an access. A task is data, not a subclass.

The eight tasks of the paper's Table 1, the five of the packaged sample and one more stand in ``TASKS``. A task of
one's own is a ``[[tasks]]`` table in a recipe with the same fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Kind(StrEnum):
    """What a head predicts (section 3 of the paper)."""

    SIMILARITY = "similarity"
    RELATION = "relation"
    INFERENCE = "inference"
    TAGGING = "tagging"


class Access(StrEnum):
    """Whether a corpus may be passed on (``open``) or lies under a data use agreement (``dua``)."""

    OPEN = "open"
    DUA = "dua"


PRIMARY_METRIC: Mapping[Kind, str] = {
    Kind.SIMILARITY: "pearson",
    Kind.RELATION: "micro_f1",
    Kind.INFERENCE: "accuracy",
    Kind.TAGGING: "f1",
}


@dataclass(frozen=True, slots=True)
class Task:
    """One task.

    ``labels``: tagging, the entity types; relation and inference, the classes in the order of the head's outputs;
    similarity, none. ``negative``: the relation class that means "no relation" and is left out of the F1.
    ``files``: for each split the files or folders it is read from, relative to the folder ``corpus`` under the data
    root, or inside the package for ``packaged`` tasks. ``arguments`` (relation): the entity types of the two
    arguments, in the order of the pair. ``relation``: the format's own name of the relation that makes a candidate
    positive, where it has one type. ``candidates``: "all" pairs of argument mentions in a sentence, or, for relations
    stated between concepts of a whole document, the "closest" pair of mentions of each two concepts.

    ``marking`` (relation): the encoder reads the types of the two arguments in their place ("mask", as BLUE does), or
    the mentions between "typed_markers".

    Where a corpus has no dev split, its dev documents are taken from the training files: those listed in
    ``dev_documents`` (a file in the package's ``splits`` folder), or ``dev_fraction`` of them drawn with
    ``split_seed``. Where it has no splits at all, ``folds`` cuts the documents of the training files into so many
    parts, of which ``fold`` is test, the next one dev and the rest train.

    ``train_documents`` is the most training documents that are used, drawn with ``split_seed`` from those of the train
    split; dev and test stay whole, unless ``trains_on_dev`` (protocol ``paper``) says that dev is trained on too: of it
    as many documents at most are used. ``choosing_documents`` is the most documents of a dev split that chooses.

    ``loss_weight`` multiplies the task's loss. ``cap`` is the most training examples that an epoch counts of the task
    (see ``inputs.schedule``); over several epochs all are seen.

    ``columns``: where a general format finds what the task needs, {role: column name}. ``scheme``: how a column of
    tags is to be read (IOB1, IOB2, BIOES), where the format cannot tell.

    ``licence`` and ``source``: under what terms the corpus is given, and what to cite. ``obtain``: where its owners
    give it out.
    """

    name: str
    kind: Kind
    domain: str
    access: Access
    corpus: str
    format: str
    files: Mapping[str, tuple[str, ...]]
    labels: tuple[str, ...] = ()
    negative: str | None = None
    arguments: tuple[str, str] | None = None
    relation: str | None = None
    candidates: str = "all"
    marking: str = "mask"
    score_range: tuple[float, float] | None = None
    loss_weight: float = 1.0
    cap: int | None = None
    train_documents: int | None = None
    choosing_documents: int | None = None
    trains_on_dev: bool = False
    dev_documents: str | None = None
    dev_fraction: float | None = None
    folds: int | None = None
    fold: int = 0
    split_seed: int = 1
    columns: Mapping[str, str] = field(default_factory=dict)
    scheme: str | None = None
    packaged: bool = False
    licence: str = ""
    source: str = ""
    obtain: str = ""

    @property
    def metric(self) -> str:
        """The metric that ``score`` stands for."""
        return PRIMARY_METRIC[self.kind]

    @property
    def positives(self) -> tuple[str, ...]:
        """The classes counted by the relation F1: all but the negative one."""
        return tuple(label for label in self.labels if label != self.negative)

    @property
    def whole(self) -> Task:
        """The task with all its documents, however few of them are trained on or choose."""
        return replace(self, train_documents=None, choosing_documents=None)


_BC5CDR_FILES = {
    "train": ("CDR_TrainingSet.PubTator.txt",),
    "dev": ("CDR_DevelopmentSet.PubTator.txt",),
    "test": ("CDR_TestSet.PubTator.txt",),
}
_SAMPLE_TSV_FILES = {"train": ("train.tsv",), "dev": ("dev.tsv",), "test": ("test.tsv",)}

_CDR_DISEASE = Task(
    name="cdr-disease",
    kind=Kind.TAGGING,
    labels=("Disease",),
    domain="biomedical",
    access=Access.OPEN,
    corpus="cdr",
    format="pubtator",
    files={"train": ("train.pubtator.txt",), "dev": ("dev.pubtator.txt",), "test": ("test.pubtator.txt",)},
    packaged=True,
    licence="US Government work, public domain",
    source="BioCreative V CDR, Li et al. 2016, doi:10.1093/database/baw068",
)

SAMPLE_TASKS: tuple[Task, ...] = (
    _CDR_DISEASE,
    replace(_CDR_DISEASE, name="cdr-chemical", labels=("Chemical",)),
    replace(
        _CDR_DISEASE,
        name="cdr-relation",
        kind=Kind.RELATION,
        labels=("induces", "none"),
        negative="none",
        arguments=("Chemical", "Disease"),
        relation="CID",
        candidates="closest",
        files={**_CDR_DISEASE.files, "train": ("train.pubtator.txt", "train-more.pubtator.txt")},
    ),
    replace(
        _CDR_DISEASE,
        name="cdr-similarity",
        kind=Kind.SIMILARITY,
        labels=(),
        score_range=(0.0, 5.0),
        corpus="cdr-similarity",
        format="tsv",
        files=_SAMPLE_TSV_FILES,
    ),
    Task(
        name="evidence-inference",
        kind=Kind.INFERENCE,
        labels=("no significant difference", "significantly increased", "significantly decreased"),
        domain="biomedical",
        access=Access.OPEN,
        corpus="evidence-inference",
        format="tsv",
        files=_SAMPLE_TSV_FILES,
        packaged=True,
        licence="MIT",
        source="Evidence Inference 2.0, DeYoung et al. 2020, arXiv:2005.04177",
    ),
)

_BC5CDR_DISEASE = replace(
    _CDR_DISEASE,
    name="bc5cdr-disease",
    corpus="bc5cdr",
    files=_BC5CDR_FILES,
    packaged=False,
    obtain="https://biocreative.bioinformatics.udel.edu/tasks/biocreative-v/track-3-cdr/",
)

BLUE_TASKS: tuple[Task, ...] = (
    Task(
        name="clinicalsts",
        kind=Kind.SIMILARITY,
        domain="clinical",
        access=Access.DUA,
        corpus="clinicalsts",
        format="clinicalsts",
        files={
            "train": ("clinicalSTS.train.txt",),
            "test": ("clinicalSTS.test.txt", "clinicalSTS.test.gs.sim.txt"),
        },
        dev_fraction=0.1,
        score_range=(0.0, 5.0),
        licence="agreement with Mayo Clinic",
        source="Wang et al. 2018, doi:10.1007/s10579-018-9431-1",
        obtain="Mayo Clinic, from the authors of the source, as for the BioCreative/OHNLP 2018 task",
    ),
    Task(
        name="shareclefe",
        kind=Kind.TAGGING,
        labels=("Disease_Disorder",),
        domain="clinical",
        access=Access.DUA,
        corpus="ShAReCLEFEHealthCorpus",
        format="shareclef",
        files={
            "train": ("Task1TrainSetCorpus199/ALLREPORTS", "Task1TrainSetGOLD199knowtatorehost/Task1Gold"),
            "test": ("Task1TestSetCorpus100/ALLREPORTS", "Task1Gold_SN2012/Gold_SN2012"),
        },
        dev_fraction=0.1,
        licence="PhysioNet credentialed access, data use agreement",
        source="Suominen et al. 2013, doi:10.1007/978-3-642-40802-1_24",
        obtain="https://physionet.org/content/shareclefehealth2013/1.0/",
    ),
    Task(
        name="i2b2-2010-re",
        kind=Kind.RELATION,
        labels=("PIP", "TeCP", "TeRP", "TrAP", "TrCP", "TrIP", "TrNAP", "TrWP", "false"),
        negative="false",
        domain="clinical",
        access=Access.DUA,
        corpus="i2b2-2010",
        format="i2b2",
        files={
            "train": ("original/concept_assertion_relation_training_data",),
            "test": ("original/reference_standard_for_test_data",),
        },
        dev_fraction=0.1,
        licence="n2c2 data use agreement",
        source="Uzuner et al. 2011, doi:10.1136/amiajnl-2011-000203",
        obtain="https://portal.dbmi.hms.harvard.edu/projects/n2c2-nlp/",
    ),
    Task(
        name="mednli",
        kind=Kind.INFERENCE,
        labels=("contradiction", "entailment", "neutral"),
        domain="clinical",
        access=Access.DUA,
        corpus="mednli",
        format="mednli",
        files={"train": ("mli_train_v1.jsonl",), "dev": ("mli_dev_v1.jsonl",), "test": ("mli_test_v1.jsonl",)},
        licence="PhysioNet credentialed access, data use agreement",
        source="Romanov and Shivade 2018, doi:10.18653/v1/D18-1187",
        obtain="https://physionet.org/content/mednli/",
    ),
    _BC5CDR_DISEASE,
    replace(_BC5CDR_DISEASE, name="bc5cdr-chemical", labels=("Chemical",)),
    Task(
        name="ddi2013",
        kind=Kind.RELATION,
        labels=("advise", "effect", "int", "mechanism", "false"),
        negative="false",
        arguments=("drug", "drug"),
        domain="biomedical",
        access=Access.OPEN,
        corpus="ddi2013",
        format="ddi",
        # The folder "Test for DrugNER task" beside it is no part of this test: it is for recognizing drugs, and the
        # pairs in it are all "false".
        files={"train": ("DDICorpus/Train",), "test": ("DDICorpus/Test/Test for DDI Extraction task",)},
        dev_documents="ddi2013-dev.txt",
        licence="CC BY-NC 4.0",
        source="Herrero-Zazo et al. 2013, doi:10.1016/j.jbi.2013.07.011",
        obtain="https://github.com/isegura/DDICorpus",
    ),
    Task(
        name="chemprot",
        kind=Kind.RELATION,
        labels=("CPR:3", "CPR:4", "CPR:5", "CPR:6", "CPR:9", "false"),
        negative="false",
        arguments=("CHEMICAL", "GENE"),
        domain="biomedical",
        access=Access.OPEN,
        corpus="chemprot",
        format="chemprot",
        files={"train": ("chemprot_training",), "dev": ("chemprot_development",), "test": ("chemprot_test_gs",)},
        licence="none stated by the authors",
        source="Krallinger et al. 2017, BioCreative VI",
        obtain="https://biocreative.bioinformatics.udel.edu/news/corpora/chemprot-corpus-biocreative-vi/",
    ),
)

EXTRA_TASKS: tuple[Task, ...] = (
    Task(
        name="biosses",
        kind=Kind.SIMILARITY,
        domain="biomedical",
        access=Access.OPEN,
        corpus="biosses",
        format="tsv",
        files={"train": ("biosses_all.tsv",)},
        score_range=(0.0, 4.0),
        folds=5,
        licence="GPL-3.0",
        source="Sogancioglu et al. 2017, doi:10.1093/bioinformatics/btx238",
        obtain="https://tabilab.cmpe.boun.edu.tr/BIOSSES/",
    ),
)

TASKS: Mapping[str, Task] = {task.name: task for task in (*SAMPLE_TASKS, *BLUE_TASKS, *EXTRA_TASKS)}
