import torch

from diffrop import seeds
from diffrop.seeds import derive_seed, generator


def test_every_part_of_a_key_changes_the_seed() -> None:
    found = {derive_seed(*key) for key in [(0,), (1,), (0, 1), (0, 2), (0, 1, 3), (0, 3, 1)]}
    assert len(found) == 6
    assert all(0 <= seed < 2**63 for seed in found)
    assert derive_seed(7, 1, 2) == derive_seed(7, 1, 2)


def test_every_use_has_a_stream_of_its_own() -> None:
    uses = [
        value for name, value in vars(seeds).items() if name.isupper() and name != "TYPE_CHECKING"
    ]
    assert sorted(uses) == list(range(len(uses)))


def test_generator_is_seeded_by_its_key() -> None:
    expected = torch.Generator().manual_seed(derive_seed(3, seeds.STEP, 64))
    found = generator("cpu", 3, seeds.STEP, 64)
    assert torch.rand(4, generator=found).equal(torch.rand(4, generator=expected))
