import dataclasses

import pytest

from diffrop.baselines.classifier_config import ClassifierConfig, classifier_recipe


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="num_images is 0; allowed: more than 0"):
        dataclasses.replace(classifier_recipe("digits"), num_images=0)
    with pytest.raises(ValueError, match=r"weight_decay is -1\.0; allowed: 0 or more"):
        ClassifierConfig(weight_decay=-1)
