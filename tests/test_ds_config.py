"""The DeepSpeed JSON: shipped files, every refusal, and the numbers handed to DeepSpeed."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale import ds_config, ds_rules
from mtscale.ds_config import JsonObject, Machine, find, load, resolve, shipped_for
from mtscale.ds_rules import check
from mtscale.errors import ConfigError

CPU = Machine("cpu", "a CPU", None, 0, cpu_bf16=True)
OLD_CPU = Machine("cpu", "an old CPU", None, 0, cpu_bf16=False)
P100 = Machine("cuda", "Tesla P100", (6, 0), 1, cpu_bf16=False)
V100 = Machine("cuda", "Tesla V100", (7, 0), 4, cpu_bf16=False)
A100 = Machine("cuda", "NVIDIA A100", (8, 0), 1, cpu_bf16=False)
MACHINES = (CPU, OLD_CPU, P100, V100, A100)
SHIPPED = ("a100-nodes.json", "a100.json", "cpu-fp32.json", "cpu.json", "v100-nodes.json", "v100.json")
OWN = Path("own.json")


def problems(machine: Machine = V100, /, **changes: object) -> list[str]:
    """What is wrong with v100.json on a V100 after these changes; None deletes a key."""
    config = {**load(find("v100")), **changes}
    return check({key: value for key, value in config.items() if value is not None}, path=OWN, machine=machine)


def zero(**changes: object) -> JsonObject:
    return {"stage": 1, **changes}


def only(found: list[str]) -> str:
    assert len(found) == 1, found
    assert "\n" not in found[0]
    return found[0]


# Finding and reading


def test_the_shipped_configs_are_these() -> None:
    assert tuple(sorted(file.name for file in ds_config.SHIPPED.iterdir())) == SHIPPED


@pytest.mark.parametrize("name", ["cpu", "cpu.json", "ds_configs/cpu.json"])
def test_a_shipped_name_is_found_from_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(name).samefile(ds_config.SHIPPED / "cpu.json")


def test_a_path_wins_over_a_shipped_name_but_a_bare_name_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for own in (tmp_path / "cpu.json", tmp_path / "ds_configs" / "cpu.json", tmp_path / "mine.json"):
        own.parent.mkdir(exist_ok=True)
        own.write_text("{}")
    assert find("./cpu.json").samefile(tmp_path / "cpu.json")
    assert find("ds_configs/cpu.json").samefile(tmp_path / "ds_configs" / "cpu.json")
    assert find("mine.json").samefile(tmp_path / "mine.json")
    assert find("cpu.json").samefile(ds_config.SHIPPED / "cpu.json")


def test_an_unknown_name_lists_the_shipped_ones_and_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        find("v10.json")
    assert "did you mean v100.json?" in str(caught.value)
    assert all(name in str(caught.value) for name in SHIPPED)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{\n  "fp16": {,}\n}', r"own\.json:2: expected JSON"),
        (b'{"fp16": {"enabled": true, "enabled": false}}', "key 'enabled' is given twice"),
        (b"[1]", "expected a JSON object .* found a list"),
        (b"\xff\xfe", "expected JSON in UTF-8"),
    ],
)
def test_unreadable_content_is_refused_with_its_place(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.json: cannot be read: No such file"):
        load(tmp_path / "gone.json")


# Which config fits which machine


@pytest.mark.parametrize(
    ("machine", "name"),
    [(CPU, "cpu"), (OLD_CPU, "cpu"), (P100, "cpu-fp32"), (V100, "v100"), (A100, "a100")],
)
def test_the_suggested_config_has_no_problem_on_its_machine(machine: Machine, name: str) -> None:
    assert shipped_for(machine) == f"ds_configs/{name}.json"
    path = find(shipped_for(machine))
    assert check(load(path), path=path, machine=machine) == []


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["cpu", "cpu-fp32"])
def test_configs_without_half_precision_blocks_fit_everywhere(name: str, machine: Machine) -> None:
    assert check(load(find(name)), path=find(name), machine=machine) == []


def test_fp16_without_a_gpu_is_one_line_that_names_the_file_and_the_remedy() -> None:
    path = find("v100")
    assert check(load(path), path=path, machine=CPU) == [
        "ds_configs/v100.json asks for fp16, but this machine has no CUDA GPU (DeepSpeed would train on the CPU, "
        "whose fp16 is unusable). Use --ds_config ds_configs/cpu.json"
    ]


def test_a_half_precision_the_gpu_lacks_is_refused() -> None:
    bf16 = only(problems(fp16=None, bf16={"enabled": True}))
    assert "needs 8.0" in bf16
    assert "capability 7.0" in bf16
    assert "ds_configs/v100.json" in bf16
    assert "needs 7.0" in only(problems(P100))
    assert "no CUDA GPU" in only(problems(CPU, fp16=None, bf16={"enabled": True}))
    assert problems(A100, fp16=None, bf16={"enabled": True}) == []


def test_forced_autocast_is_allowed_on_a_cpu_and_refused_where_a_gpu_emulates_it() -> None:
    forced = {"enabled": True, "dtype": "bfloat16"}
    assert problems(OLD_CPU, fp16=None, torch_autocast=forced) == []
    assert problems(A100, fp16=None, torch_autocast=forced) == []
    assert "would emulate it" in only(problems(V100, fp16=None, torch_autocast=forced))


# Known-wrong combinations


def test_two_precisions_at_once_are_refused() -> None:
    assert "fp16 and bf16 at once" in only(problems(A100, bf16={"enabled": True}))
    assert "fp16 and torch_autocast at once" in only(problems(A100, torch_autocast={"enabled": True}))


def test_half_precision_blocks_need_zero_1() -> None:
    assert "fp16 with ZeRO stage 0" in only(problems(zero_optimization={"stage": 0}))
    assert "fp16 with ZeRO stage 0" in only(problems(zero_optimization=None))
    bf16 = only(problems(A100, fp16=None, bf16={"enabled": True}, zero_optimization=None))
    assert "bf16 with ZeRO stage 0" in bf16
    assert "torch_autocast" in bf16


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_float16_autocast_is_refused_in_every_stage(stage: int) -> None:
    autocast = {"enabled": True, "dtype": "float16"}
    assert "'float16'" in only(problems(A100, fp16=None, torch_autocast=autocast, zero_optimization={"stage": stage}))


@pytest.mark.parametrize("dtype", ["fp32", "float32", "torch.float32"])
def test_the_bf16_optimizer_is_refused(dtype: str) -> None:
    data_types = {"grad_accum_dtype": dtype}
    bf16 = {"enabled": True}
    assert "BF16_Optimizer" in only(problems(A100, fp16=None, bf16=bf16, data_types=data_types))
    assert problems(A100, fp16=None, bf16=bf16, data_types=data_types, zero_optimization=zero(stage=2)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": 3}, "ZeRO stage 3"),
        ({"stage": 4}, "to 0, 1 or 2, found 4"),
        ({"stage": True}, "to 0, 1 or 2, found True"),
        ({"stage": "auto"}, "to 0, 1 or 2, found 'auto'"),
        ({"overlap_comm": True}, "overlap_comm to true"),
        ({"compute_grad_norm": False}, "compute_grad_norm to false"),
        ({"offload_optimizer": {"device": "cpu"}}, "zero_optimization.offload_optimizer"),
        ({"cpu_offload": True}, "zero_optimization.cpu_offload"),
        ({"mics_shard_size": 2}, "mics_shard_size, which was removed"),
    ],
)
def test_zero_settings_that_train_wrongly_are_refused(change: JsonObject, message: str) -> None:
    found = problems(A100, fp16=None, zero_optimization=zero(**change))
    assert message in only(found)


def test_zero_settings_that_say_the_default_are_accepted() -> None:
    written_out = zero(overlap_comm=False, contiguous_gradients=True, cpu_offload=False, offload_optimizer=None)
    assert problems(zero_optimization=written_out) == []


def test_zero_settings_that_have_been_measured_to_be_right_are_accepted() -> None:
    assert problems(zero_optimization=zero(contiguous_gradients=False)) == []
    assert problems(zero_optimization=zero(stage=2, overlap_comm=True)) == []


def test_zero_needs_leave_for_an_optimizer_it_does_not_know() -> None:
    assert "zero_allow_untested_optimizer" in only(problems(zero_allow_untested_optimizer=False))
    assert problems(zero_allow_untested_optimizer=None) == []


# Keys and types


def test_an_unknown_key_is_refused_with_the_nearest_valid_one() -> None:
    assert "did you mean 'zero_optimization'?" in only(problems(zero_optimisation={"stage": 1}))


@pytest.mark.parametrize("key", ["optimizer", "scheduler"])
def test_blocks_of_the_recipe_are_refused(key: str) -> None:
    assert "the recipe owns it" in only(problems(**{key: {"type": "Adam"}}))


def _deepspeed_source(module: str) -> str:
    """The text of a module of the installed DeepSpeed, which is not imported."""
    package = importlib.util.find_spec("deepspeed")
    assert package is not None
    assert package.origin is not None
    return (Path(package.origin).parent / module).read_text(encoding="utf-8")


def test_the_removed_keys_are_those_of_the_installed_deepspeed() -> None:
    tables = {
        node.targets[0].id: ast.literal_eval(ast.Tuple([key for key in node.value.keys if key], ast.Load()))
        for node in ast.parse(_deepspeed_source("runtime/config.py")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and isinstance(node.targets[0], ast.Name)
    }
    assert sorted(tables["_REMOVED_TOP_LEVEL_CONFIG_KEYS"]) == sorted(ds_rules.REMOVED_KEYS)
    for key in tables["_REMOVED_TOP_LEVEL_CONFIG_KEYS"]:
        assert "was removed from DeepSpeed" in only(problems(**{key: {}}))
    for key in tables["_REMOVED_ZERO_CONFIG_KEYS"]:
        assert "was removed from DeepSpeed" in only(problems(zero_optimization=zero(**{key: 1})))


def test_every_accepted_key_is_read_by_the_installed_deepspeed() -> None:
    modules = (
        "runtime/constants.py",
        "runtime/zero/config.py",
        "runtime/precision_config.py",
        "comm/constants.py",
        "profiling/constants.py",
        "utils/config.py",
    )
    source = "".join(_deepspeed_source(module) for module in modules)
    unread = [key for key in ds_rules.KEYS if f'"{key}"' not in source and f"'{key}'" not in source]
    assert unread == []


@pytest.mark.parametrize("number", [0, -1, 2.5, True, "auto", None])
def test_the_largest_micro_batch_must_be_given(number: object) -> None:
    assert "train_micro_batch_size_per_gpu" in only(problems(train_micro_batch_size_per_gpu=number))


def test_values_of_the_wrong_type_are_refused() -> None:
    assert "'checkpoint' as an object" in only(problems(checkpoint=True))
    assert "fp16.enabled to true or false, found 'auto'" in only(problems(fp16={"enabled": "auto"}))
    assert "fp16.enabled to true or false, found 1" in only(problems(fp16={"enabled": 1}))
    assert "torch_autocast.enabeld" in only(problems(fp16=None, torch_autocast={"enabeld": True}))


def test_all_problems_are_told_at_once() -> None:
    found = problems(CPU, optimizer={}, zero_optimization={"stage": 0, "compute_grad_norm": False}, elasticity={})
    assert len(found) == 5
    assert all(problem.startswith("own.json ") for problem in found)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["auto", "bf16"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["enabled", "stage", "dtype"]), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(ds_rules.KEYS), _JSON), st.sampled_from(MACHINES))
@settings(deadline=None, max_examples=150)
def test_any_json_is_refused_or_resolved_but_never_crashes(config: JsonObject, machine: Machine) -> None:
    if check(config, path=OWN, machine=machine):
        return
    owned = {"train_batch_size": "auto", "gradient_accumulation_steps": "auto", "gradient_clipping": "auto"}
    resolved = resolve({**config, **owned}, batch_size=8, clip=1.0, world_size=1, machine=machine)
    assert "auto" not in json.dumps([resolved.config[key] for key in owned if key in resolved.config])


# Resolving


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 70))
@settings(deadline=None, max_examples=150)
def test_slices_cover_the_batch_and_stay_under_the_largest_micro_batch(batch: int, ranks: int, largest: int) -> None:
    config: JsonObject = {"train_micro_batch_size_per_gpu": largest}
    resolved = resolve(config, batch_size=batch, clip=1.0, world_size=ranks, machine=CPU)
    assert resolved.micro_batch <= largest
    assert resolved.micro_batch * resolved.accumulation * ranks >= batch
    # One accumulation step less would not fit, one example less a slice would not cover.
    assert (resolved.accumulation - 1) * largest * ranks < batch
    assert (resolved.micro_batch - 1) * resolved.accumulation * ranks < batch


def test_the_recipe_fills_the_autos_and_the_given_config_stays() -> None:
    given = load(find("v100"))
    before = json.dumps(given)
    resolved = resolve(given, batch_size=100, clip=0.5, world_size=2, machine=V100)
    assert json.dumps(given) == before
    assert (resolved.precision, resolved.zero_stage, resolved.micro_batch, resolved.accumulation) == ("fp16", 1, 25, 2)
    assert resolved.config["train_micro_batch_size_per_gpu"] == 25
    assert resolved.config["gradient_accumulation_steps"] == 2
    assert resolved.config["gradient_clipping"] == 0.5
    assert resolved.config["timers"] == {"throughput": {"enabled": False}}
    assert resolved.config["log_level"] == "warning"
    assert "train_batch_size" not in resolved.config


def test_zero_gets_leave_for_mtscales_optimizer() -> None:
    config: JsonObject = {"train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": 1}}
    resolved = resolve(config, batch_size=4, clip=1.0, world_size=1, machine=CPU)
    assert resolved.config["zero_allow_untested_optimizer"] is True


@pytest.mark.parametrize(
    ("name", "machine", "precision"),
    [
        ("cpu", CPU, "autocast-bf16"),
        ("cpu", OLD_CPU, "fp32"),
        ("cpu", V100, "fp32"),
        ("cpu", A100, "autocast-bf16"),
        ("cpu-fp32", CPU, "fp32"),
        ("a100", A100, "bf16"),
    ],
)
def test_auto_autocast_is_on_where_bfloat16_is_fast(name: str, machine: Machine, precision: str) -> None:
    resolved = resolve(load(find(name)), batch_size=32, clip=1.0, world_size=1, machine=machine)
    assert resolved.precision == precision
    wanted = {"enabled": True, "dtype": "bfloat16"} if precision == "autocast-bf16" else None
    assert resolved.config.get("torch_autocast") == wanted


def test_a_number_that_conflicts_with_the_recipe_is_refused() -> None:
    config = {**load(find("cpu")), "train_batch_size": 64, "gradient_clipping": 2.0, "gradient_accumulation_steps": 3}
    with pytest.raises(ConfigError) as caught:
        resolve(config, batch_size=32, clip=1.0, world_size=1, machine=CPU)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "train_batch_size to 64, but the recipe makes it 32" in lines[0]


def test_a_number_that_agrees_with_the_recipe_is_accepted() -> None:
    config = {**load(find("cpu")), "train_batch_size": 32, "gradient_clipping": 1, "gradient_accumulation_steps": 1}
    assert resolve(config, batch_size=32, clip=1.0, world_size=1, machine=CPU).micro_batch == 32


def test_resolving_without_a_micro_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="train_micro_batch_size_per_gpu"):
        resolve({}, batch_size=32, clip=1.0, world_size=1, machine=CPU)


# Together with DeepSpeed

_ACCEPTED_BY_DEEPSPEED = """
import json, sys
from deepspeed.runtime.config import DeepSpeedConfig
answers = []
for config in json.load(sys.stdin):
    read = DeepSpeedConfig(config)
    answers.append([read.train_batch_size, read.zero_optimization_stage, read.gradient_clipping,
                    read.float16_config.enabled, read.bfloat16_config.enabled, read.torch_autocast_enabled,
                    str(read.torch_autocast_dtype), read.timers_config.enabled, read.grad_accum_dtype,
                    str(read.communication_data_type), read.zero_config.reduce_bucket_size])
print(json.dumps(answers))
"""


def test_deepspeed_reads_the_resolved_configs_as_meant() -> None:
    pairs = [("v100", V100), ("a100", A100), ("cpu", CPU), ("cpu-fp32", CPU)]
    pairs += [("v100-nodes", V100), ("a100-nodes", A100)]
    configs = [resolve(load(find(name)), batch_size=96, clip=0.5, world_size=1, machine=m).config for name, m in pairs]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ACCEPTED_BY_DEEPSPEED],
        input=json.dumps(configs),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        [96, 1, 0.5, True, False, False, "None", False, None, "None", 50_000_000],
        [96, 1, 0.5, False, True, False, "None", False, None, "None", 50_000_000],
        [96, 0, 0.5, False, False, True, "torch.bfloat16", False, None, "None", 500_000_000],
        [96, 0, 0.5, False, False, False, "None", False, None, "None", 500_000_000],
        [96, 1, 0.5, True, False, False, "None", False, None, "None", 200_000_000],
        [96, 1, 0.5, False, True, False, "None", False, None, "torch.float32", 200_000_000],
    ]


def test_neither_the_checks_nor_the_probe_load_a_library() -> None:
    code = (
        "import sys; import mtscale.ds_rules, mtscale.training.machine; mtscale.training.machine.probe();"
        "print([name for name in ('torch', 'deepspeed', 'pydantic', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
