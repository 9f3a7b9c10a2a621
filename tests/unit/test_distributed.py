import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from diffrop import distributed
from diffrop.config import AugmentationConfig, ContrastiveConfig, DiffusionConfig, ObjectiveConfig
from diffrop.data.augmentation import augmented
from diffrop.diffusion.cbdm import draw_other_labels, other_label_probabilities
from diffrop.diffusion.objective import Objective, draw
from diffrop.diffusion.schedule import NoiseSchedule

NUM_WORKERS = 2
NUM_STEPS = 3
CLASS_COUNTS = torch.tensor([10, 4, 4, 1])
NULL = 4
SHAPE = (16, 1, 4, 4)
MODES = ["grouped", "batch", "per_sample"]
REDUCTIONS = ["mean", "sum"]
SETTINGS: dict[str, dict[str, Any]] = {
    "none": {"form": "none"},
    "reciprocal": {"form": "reciprocal", "space": "x0"},
    "mu": {"form": "exponential", "space": "mu", "tau_0": 50.0},
    "frequent": {"form": "reciprocal", "space": "x0", "stop_gradient": "frequent"},
    "negative_l2": {"form": "negative_l2", "space": "eps", "tau_0": 0.15},
    "oracle": {"form": "hinge", "space": "eps", "margin": 1.2},
    "quantile": {"form": "hinge", "space": "x0", "margin_rule": "quantile", "margin": 0.5},
}
OBJECTIVES = {"cbdm": ObjectiveConfig(loss="cbdm", class_weights="inverse")}
SETTINGS["cbdm"] = {"form": "reciprocal", "space": "x0"}  # CBDM + DiffROP, reweighted
LABELS = {
    "mixed": [0, 1, 2, 3, 0, 0, 1, 2, 3, 3, 0, 1, 2, 2, 1, 0],
    "pairs_on_one_worker": [2] * 8 + [0, 1, 2, 3, 0, 1, 3, 2],
    "no_pairs": [1] * 16,
}
IMAGES = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(7)) * 2 - 1
CASES = [
    (mode, reduction, setting, labels)
    for mode in MODES
    for reduction in REDUCTIONS
    for setting in SETTINGS
    for labels in LABELS
]


class TinyDenoiser(nn.Module):
    """A convolution whose output depends on label and time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.label = nn.Embedding(NULL + 1, 16)

    def forward(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        shift = self.label(labels).view(-1, 1, 4, 4) * (1 + t.view(-1, 1, 1, 1) / 20)
        return self.conv(x_t) + 0.3 * shift


def train(mode: str, reduction: str, setting: str, labels: str) -> dict[str, Any]:
    """Mean loss and averaged gradient of every step, and the state of the quantile margin."""
    torch.manual_seed(0)
    model = TinyDenoiser()
    diffusion = DiffusionConfig(
        num_timesteps=20, beta_end=0.3, timesteps=mode, group_size=4, label_dropout=0.15
    )
    contrastive = ContrastiveConfig(pair_reduction=reduction, **SETTINGS[setting])
    config = OBJECTIVES.get(setting, ObjectiveConfig())
    schedule = NoiseSchedule.linear(diffusion)
    objective = Objective(diffusion, contrastive, schedule, CLASS_COUNTS, config)
    generator = torch.Generator().manual_seed(1)
    found: dict[str, Any] = {"loss": [], "gradient": [], "num_pairs": []}
    for _ in range(NUM_STEPS):
        x_0 = torch.rand(SHAPE, generator=generator) * 2 - 1
        draws = draw(diffusion, SHAPE, generator)
        if config.loss == "cbdm":
            mass = other_label_probabilities(config, CLASS_COUNTS.tolist())
            others = draw_other_labels(mass, SHAPE[0], generator)
            draws = dataclasses.replace(draws, other_labels=others)
        classes = distributed.own_share(torch.tensor(LABELS[labels]))
        model.zero_grad()
        losses = objective(model, distributed.own_share(x_0), classes, draws, 0)
        losses.total.backward()
        flat = torch.cat([weight.grad.flatten() for weight in model.parameters()])
        workers = distributed.world_size()
        found["loss"].append(distributed.all_reduce_sum(losses.total.detach()) / workers)
        found["gradient"].append(distributed.all_reduce_sum(flat) / workers)
        if losses.contrastive is not None:
            found["num_pairs"].append(losses.contrastive.num_pairs)
    found["margin"] = objective.pcl.margin_quantile if objective.pcl is not None else None
    return found


def augment(images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Everything that augmentation can do, at one position of a training."""
    config = AugmentationConfig(
        diffaug=("color", "translation", "cutout"), conditional_probability=0.5
    )
    return augmented(config, images, len(IMAGES), seed=5, position=320)


def collectives() -> dict[str, Any]:
    """What the collectives return on this worker."""
    rank = distributed.rank()
    tensor = torch.tensor([[1.0, 2.0], [3.0, 4.0]]) + 10 * rank
    summed = distributed.all_reduce_sum(tensor)
    own = tensor.clone().requires_grad_()
    gathered = distributed.all_gather(own)
    # Worker r weighs element k of the global tensor by (r + 1) (k + 1).
    weights = torch.arange(1.0, 9.0).view(4, 2)
    ((rank + 1) * weights * gathered.square()).sum().backward()
    twisted = distributed.all_gather(tensor.t().contiguous().t())
    distributed.barrier()
    return {
        "rank": rank,
        "world_size": distributed.world_size(),
        "tensor": tensor,
        "summed": summed,
        "gathered": gathered.detach(),
        "gradient": own.grad,
        "share": distributed.own_share(torch.arange(8).view(4, 2)),
        "labels": distributed.all_gather(torch.tensor([rank, rank + 5])),
        "twisted": twisted,
        "augmented": distributed.all_gather(augment(distributed.own_share(IMAGES))[0]),
        "inputs": augment(distributed.own_share(IMAGES))[1],
    }


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=NUM_WORKERS
    )
    found = {"collectives": collectives(), "training": {case: train(*case) for case in CASES}}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The results of all workers, from one start of the processes."""
    folder = tmp_path_factory.mktemp("workers")
    torch.multiprocessing.spawn(worker, args=(str(folder),), nprocs=NUM_WORKERS)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(NUM_WORKERS)]


def test_lone_process_is_worker_0_of_1() -> None:
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    distributed.barrier()


def test_collectives_of_a_lone_process_are_the_identity() -> None:
    tensor = torch.randn(4, 2, requires_grad=True)
    assert distributed.own_share(tensor).equal(tensor)
    assert distributed.all_reduce_sum(tensor) is tensor
    distributed.all_gather(tensor).square().sum().backward()
    assert tensor.grad is not None
    assert tensor.grad.equal(2 * tensor)


def test_workers_know_their_rank(workers: list[dict[str, Any]]) -> None:
    found = [result["collectives"] for result in workers]
    assert [result["rank"] for result in found] == [0, 1]
    assert [result["world_size"] for result in found] == [2, 2]


def test_own_shares_are_contiguous_and_make_up_the_whole(workers: list[dict[str, Any]]) -> None:
    shares = [result["collectives"]["share"] for result in workers]
    assert torch.cat(shares).equal(torch.arange(8).view(4, 2))


def test_sum_over_workers_leaves_the_argument_alone(workers: list[dict[str, Any]]) -> None:
    for rank, result in enumerate(workers):
        found = result["collectives"]
        first = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        assert found["tensor"].equal(first + 10 * rank)
        assert found["summed"].equal(2 * first + 10)


def test_gathered_tensor_is_in_order_of_rank(workers: list[dict[str, Any]]) -> None:
    whole = torch.cat([result["collectives"]["tensor"] for result in workers])
    for result in workers:
        assert result["collectives"]["gathered"].equal(whole)
        assert result["collectives"]["twisted"].equal(whole)
        assert result["collectives"]["labels"].tolist() == [0, 5, 1, 6]


def test_workers_augment_as_one_with_the_whole_batch(workers: list[dict[str, Any]]) -> None:
    images, inputs = augment(IMAGES)
    assert inputs is not None
    for result in workers:
        torch.testing.assert_close(result["collectives"]["augmented"], images)
        assert result["collectives"]["inputs"].equal(inputs)


def test_gradient_of_a_gathered_tensor_counts_every_worker_s_use(
    workers: list[dict[str, Any]],
) -> None:
    whole = torch.cat([result["collectives"]["tensor"] for result in workers])
    uses = 1 + 2  # the factors of both workers
    expected = uses * torch.arange(1.0, 9.0).view(4, 2) * 2 * whole
    gradients = [result["collectives"]["gradient"] for result in workers]
    torch.testing.assert_close(torch.cat(gradients), expected)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_two_workers_match_one_with_the_whole_batch(
    workers: list[dict[str, Any]], mode: str, reduction: str, setting: str, labels: str
) -> None:
    expected = train(mode, reduction, setting, labels)
    for result in workers:
        found = result["training"][mode, reduction, setting, labels]
        assert [float(count) for count in found["num_pairs"]] == [
            float(count) for count in expected["num_pairs"]
        ]
        for step in range(NUM_STEPS):
            loss, gradient = expected["loss"][step], expected["gradient"][step]
            assert math.isfinite(loss)
            torch.testing.assert_close(found["loss"][step], loss, rtol=1e-6, atol=1e-6)
            difference = (found["gradient"][step] - gradient).norm() / gradient.norm()
            assert difference < 2e-6  # rounding of float32 sums in another order
        if expected["margin"] is not None:
            torch.testing.assert_close(
                found["margin"], expected["margin"], rtol=1e-6, atol=1e-6, equal_nan=True
            )


@pytest.mark.parametrize("mode", MODES)
def test_compared_runs_have_pairs_and_a_running_quantile(
    workers: list[dict[str, Any]], mode: str
) -> None:
    found = workers[0]["training"][mode, "mean", "quantile", "mixed"]
    assert min(found["num_pairs"]) > 0
    assert (~found["margin"].isnan()).sum() >= (1 if mode == "batch" else 3)
    empty = workers[0]["training"][mode, "mean", "quantile", "no_pairs"]
    assert max(empty["num_pairs"]) == 0
    assert empty["margin"].isnan().all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("setting", [name for name in SETTINGS if name != "none"])
def test_compared_gradients_contain_the_contrastive_term(
    workers: list[dict[str, Any]], setting: str, reduction: str, mode: str
) -> None:
    found = workers[0]["training"][mode, reduction, setting, "mixed"]["gradient"]
    plain = workers[0]["training"][mode, reduction, "none", "mixed"]["gradient"]
    assert max((a - b).norm() / b.norm() for a, b in zip(found, plain, strict=True)) > 1e-3
