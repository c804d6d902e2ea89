"""Single values and keys of a DeepSpeed JSON that are refused; ``test_ds_config.py`` has the combinations."""

from __future__ import annotations

import pytest

from mtscale import ds_rules
from mtscale.ds_config import SHIPPED, JsonObject, Machine, load
from mtscale.ds_rules import check
from tests.test_ds_config import A100, OWN, V100, only, problems, zero

BF16: JsonObject = {"enabled": True}


def of_a100(**changes: object) -> list[str]:
    config = {**load(SHIPPED / "a100.json"), **changes}
    return check(config, path=OWN, machine=A100)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bf16", BF16 | {"check_grad_overflow": False}, "gradients that are not finite reach the weights"),
        ("bf16", BF16 | {"bf16_master_weights_and_grads": True}, "small against the weights"),
        ("bf16", BF16 | {"bf16_optimizer_states": True}, "small against the moments"),
        ("checkpoint", {"load_universal": True}, "knows Adam's moments only"),
        ("checkpoint", {"use_node_local_storage": True}, "scatters a checkpoint"),
        ("checkpoint", {"tag_validation": "FAILS"}, 'tag_validation to "FAIL"'),
        ("checkpoint", {"tag_validation": True}, 'tag_validation to "FAIL"'),
        ("zero_optimization", zero(elastic_checkpoint=True), "any number by itself"),
        ("communication_data_type", "fp16", 'expected "fp32" or "bf16"'),
        ("communication_data_type", "bf8", 'expected "fp32" or "bf16"'),
    ],
)
def test_values_that_are_never_right_are_refused(name: str, value: object, message: str) -> None:
    assert message in only(of_a100(**{name: value}))


def test_fp16_has_a_dynamic_scale_and_fp32_masters() -> None:
    fp16 = {"enabled": True}
    assert problems(fp16=fp16 | {"loss_scale": 0.0}) == []
    assert "overflows in every step" in only(problems(fp16=fp16 | {"loss_scale": 128}))
    assert "CPU Adam" in only(problems(fp16=fp16 | {"fp16_master_weights_and_grads": True}))
    assert 'expected "fp32" or "fp16"' in only(problems(communication_data_type="bf16"))


@pytest.mark.parametrize("dtype", ["fp32", "float32", "bf16"])
def test_gradients_may_be_reduced_in_float32_or_in_their_own_precision(dtype: str) -> None:
    assert of_a100(communication_data_type=dtype) == []


def test_without_a_half_precision_block_gradients_are_reduced_in_float32() -> None:
    assert 'expected "fp32":' in only(problems(fp16=None, communication_data_type="fp16"))


@pytest.mark.parametrize(
    ("name", "key", "hint"),
    [
        ("fp16", "intial_scale_power", "did you mean 'initial_scale_power'?"),
        ("zero_optimization", "reduce_buket_size", "did you mean 'reduce_bucket_size'?"),
        ("zero_optimization", "stage3_max_live_parameters", "delete it"),
        ("checkpoint", "tag_validaton", "did you mean 'tag_validation'?"),
    ],
)
def test_an_unknown_key_of_a_block_is_refused_with_the_nearest_valid_one(name: str, key: str, hint: str) -> None:
    fits = {"fp16": {"enabled": True}, "zero_optimization": zero()}.get(name, {})
    found = only(problems(**{name: {**fits, key: 1}}))
    assert f"has the key {name}.{key}" in found
    assert hint in found


def test_every_accepted_key_of_a_block_is_one_of_the_installed_deepspeed() -> None:
    from deepspeed.runtime import config, constants
    from deepspeed.runtime.precision_config import DeepSpeedBF16Config, DeepSpeedFP16Config
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    names = {value for module in (config, constants) for value in vars(module).values() if isinstance(value, str)}
    models = {"fp16": DeepSpeedFP16Config, "bf16": DeepSpeedBF16Config, "zero_optimization": DeepSpeedZeroConfig}
    keys = [(name, key) for name, keys in ds_rules.BLOCK_KEYS.items() for key in keys]
    for name, key in [*keys, *ds_rules._WRONG_VALUES]:
        assert key in (models[name].model_fields if name in models else names), (name, key)


@pytest.mark.parametrize(("name", "machine", "sum_in"), [("v100-nodes", V100, None), ("a100-nodes", A100, "fp32")])
def test_the_configs_for_many_nodes_are_those_for_one_but_for_their_communication(
    name: str, machine: Machine, sum_in: str | None
) -> None:
    nodes = load(SHIPPED / f"{name}.json")
    assert check(nodes, path=OWN, machine=machine) == []
    assert nodes.pop("communication_data_type", None) == sum_in
    one = load(SHIPPED / f"{name.removesuffix('-nodes')}.json")
    for config in (nodes, one):
        block = config["zero_optimization"]
        assert isinstance(block, dict)
        assert block.pop("reduce_bucket_size") == block.pop("allgather_bucket_size")
        block.pop("use_multi_rank_bucket_allreduce", None)
    assert nodes == one


def test_every_shipped_zero_config_writes_its_buckets_out() -> None:
    for path in SHIPPED.glob("*.json"):
        zero_block = load(path)["zero_optimization"]
        assert isinstance(zero_block, dict)
        if zero_block["stage"]:
            assert {"reduce_bucket_size", "allgather_bucket_size", "overlap_comm"} <= zero_block.keys()
