from typing import get_args

import pytest

from diffrop.baselines.gan_config import GanConfig, GanModel, gan_recipe


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"forgetting is 0\.0; allowed: 0 < alpha <= 1"):
        GanConfig(forgetting=0)
    with pytest.raises(ValueError, match="batch_size is 1; allowed: at least 2"):
        GanConfig(batch_size=1)
    with pytest.raises(ValueError, match="model is 'dcgan'; allowed: sngan, gsr, cbgan"):
        GanConfig.from_dict({"model": "dcgan"})
    for model in get_args(GanModel):
        for dataset in ("digits", "fashion_mnist", "cifar10", "image_folder"):
            assert gan_recipe(model, dataset).model == model
