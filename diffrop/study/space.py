"""The declarative search space: ranges of configuration keys, read from YAML."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffrop.config import ExperimentConfig
from diffrop.schema import Config, coerce, plain, require, short, type_of_key
from diffrop.study.prior import SPREAD, Confidence
from diffrop.yaml_text import load_yaml, yaml_text

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

FORM_KEY = "contrastive.form"
MAX_INTEGER = 2**53
"""Up to here the ends of a range, which are floats, are exact."""


def typed_value(key: str, value: Any) -> Any:
    """Return a value in the type of its key; a list as its text in JSON.

    Optuna, tables and figures keep values as numbers and texts. `ExperimentConfig.with_values`
    reads such a text as the list.

    Raises:
        ValueError: there is no such key, or it takes no such value.
    """
    typed = plain(coerce(value, type_of_key(ExperimentConfig, key), key))
    return json.dumps(typed) if isinstance(typed, list) else typed


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter(Config):
    """One searched key: either `choices`, or `low` to `high`."""

    name: str
    """Dotted key of the experiment's configuration."""
    source: str
    """Where the range comes from."""
    choices: tuple[Any, ...] | None = None
    """What is tried, in any order; instead of low and high."""
    low: float | None = None
    """Lower end of the range, included."""
    high: float | None = None
    """Upper end, included."""
    log: bool = False
    """Draw evenly in the logarithm."""
    integer: bool = False
    """Draw whole numbers; so is a key of whole numbers in any case."""
    when: dict[str, Any] | None = None
    """Keys of earlier parameters, each with the values at which this one is asked."""
    prior: Any = None
    """The value that is believed to be good; more of the early trials are near it."""
    confidence: Confidence | None = None
    """How near they are to it."""

    def check(self) -> None:
        """Refuse empty ranges and choices, and half a prior."""
        both = (self.prior is None) == (self.confidence is None)
        given = "prior" if self.confidence is None else "confidence"
        levels = f"prior: VALUE with confidence: {', '.join(SPREAD)}"
        require(both, self.name, f"{given} alone", levels)
        if self.choices is not None:
            numeric = self.low is not None or self.high is not None or self.log
            require(not numeric, self.name, "choices with low, high or log", "one or the other")
            require(len(self.choices) > 0, f"choices of {self.name}", self.choices, "at least one")
            return
        if self.low is None or self.high is None:
            raise ValueError(f"{self.name} has no range; allowed: choices, or low and high")
        text = f"low {self.low:g}, high {self.high:g}"
        require(self.low < self.high, f"range of {self.name}", text, "low < high")
        require(not self.log or self.low > 0, f"range of {self.name}", text, "low > 0 with log")
        ends = (self.low, self.high)
        whole = all(end.is_integer() and abs(end) <= MAX_INTEGER for end in ends)
        allowed = f"whole numbers up to {MAX_INTEGER:,} with integer"
        require(not self.integer or whole, f"range of {self.name}", text, allowed)

    def typed(self) -> "Parameter":
        """Return this parameter with its values, and those of its condition, in their keys' types.

        Raises:
            ValueError: there is no such key, or it takes no such value.
        """
        choices, when = self.choices, None
        if choices is not None:
            choices = tuple(typed_value(self.name, choice) for choice in choices)
            distinct = all(choice not in choices[:i] for i, choice in enumerate(choices))
            require(distinct, f"choices of {self.name}", list(choices), "distinct values")
        if self.when is not None:
            when = {key: self._typed_condition(key, values) for key, values in self.when.items()}
        whole = choices is None and type_of_key(ExperimentConfig, self.name) is int
        typed = dataclasses.replace(
            self, choices=choices, when=when, integer=self.integer or whole
        )
        if self.prior is None:
            return typed
        try:
            return dataclasses.replace(typed, prior=typed.checked_value(self.prior))
        except ValueError as error:
            raise ValueError(f"prior of {error}") from error

    def _typed_condition(self, key: str, values: Any) -> list[Any]:
        name, allowed = f"condition of {self.name}", "a list of choices of a parameter before it"
        require(isinstance(values, list | tuple) and len(values) > 0, name, {key: values}, allowed)
        return [typed_value(key, value) for value in values]

    def asked(self, values: Mapping[str, Any]) -> bool:
        """Return whether the condition holds for the values drawn so far."""
        return all(values.get(key) in allowed for key, allowed in (self.when or {}).items())

    def suggest(self, trial: "optuna.Trial") -> Any:
        """Draw a value."""
        if self.choices is not None:
            return trial.suggest_categorical(self.name, list(self.choices))
        assert self.low is not None and self.high is not None
        if self.integer:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def distribution(self) -> "BaseDistribution":
        """Return the range as Optuna knows it."""
        # Imported here: a command line checks a space without Optuna.
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.choices is not None:
            return CategoricalDistribution(self.choices)
        assert self.low is not None and self.high is not None
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def checked_value(self, value: Any) -> Any:
        """Return a value in its key's type; ValueError, with what is allowed, if out of range."""
        if self.choices is not None:
            allowed = ", ".join(str(choice) for choice in self.choices)
        else:
            kind = "a whole number, " if self.integer else ""
            allowed = f"{kind}{self.low:g} to {self.high:g}"
        try:
            typed = typed_value(self.name, value)
            typed = coerce(typed, int, self.name) if self.integer else typed
        except ValueError as error:
            raise ValueError(f"{self.name} is {short(value)}; allowed: {allowed}") from error
        if self.choices is not None:
            inside = typed in self.choices
        else:
            assert self.low is not None and self.high is not None
            inside = self.low <= typed <= self.high
        require(inside, self.name, value, allowed)
        return typed

    def share_of(self, value: float) -> float:
        """Return where a number lies in the range, from 0 to 1, on the range's own scale."""
        assert self.low is not None and self.high is not None
        low, high, own = self.low, self.high, float(value)
        if self.log:
            low, high, own = math.log(low), math.log(high), math.log(own)
        return min(1.0, max(0.0, (own - low) / (high - low)))

    def at_share(self, share: float) -> float:
        """Return the number at a share in [0, 1] of the range, on the range's own scale.

        Whole numbers that are not drawn in the logarithm have equal shares.
        """
        assert self.low is not None and self.high is not None
        low, high = self.low, self.high
        if self.integer and not self.log:
            return int(min(high, low + share * (high - low + 1)))
        value = low * (high / low) ** share if self.log else low + share * (high - low)
        value = min(high, max(low, value))
        return round(value) if self.integer else value

    def extremes(self) -> list[Any]:
        """Return the values to try against the configuration's own checks."""
        if self.choices is not None:
            return list(self.choices)
        return [int(v) if self.integer else v for v in (self.low, self.high) if v is not None]


LENGTHS = ("training.batch_size", "training.num_images")
"""Keys that move the rungs, at which trials are compared."""


SCORING = ("sampling.", "evaluation.", "data.reference")
"""Keys of how a trial is scored, not of what it trains."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpace(Config):
    """The searched parameters, in the order in which they are drawn."""

    parameters: tuple[Parameter, ...]

    def check(self) -> None:
        """Refuse empty spaces and conditions on what is not drawn before."""
        require(len(self.parameters) > 0, "parameters", self.parameters, "at least one")
        earlier: dict[str, Parameter] = {}
        for parameter in self.parameters:
            parameter = _checked(parameter, earlier)
            earlier[parameter.name] = parameter
        object.__setattr__(self, "parameters", tuple(earlier.values()))
        forms = earlier[FORM_KEY].choices or () if FORM_KEY in earlier else ()
        allowed = "the other forms; the baseline (none) is trial 0 of every study"
        require("none" not in forms, f"choices of {FORM_KEY}", list(forms), allowed)

    @classmethod
    def load(cls, path: Path) -> "SearchSpace":
        """Read a space from YAML.

        Raises:
            ValueError: the file is unreadable, or a parameter is not allowed.
        """
        content = load_yaml(path)
        if not isinstance(content, dict) or set(content) != {"parameters"}:
            raise ValueError(f"{path} holds no search space; allowed: one key `parameters`")
        parameters = content["parameters"]
        if not isinstance(parameters, dict):
            raise ValueError(
                f"parameters in {path} is no mapping; allowed: KEY: {{low, high, ...}}"
            )
        for key, entry in parameters.items():
            if not isinstance(entry, dict) or "source" not in entry:
                raise ValueError(f"{key} in {path} has no source; allowed: a text for each range")
        return cls.from_dict(
            {"parameters": [{**entry, "name": key} for key, entry in parameters.items()]}
        )

    def text(self) -> str:
        """Return the space as YAML, of which `load` makes an equal one."""
        parameters = {
            parameter.name: {
                item.name: plain(value)
                for item in dataclasses.fields(parameter)
                if (value := getattr(parameter, item.name)) is not item.default
                and item.name != "name"
            }
            for parameter in self.parameters
        }
        return yaml_text({"parameters": parameters})

    def corners(self, experiment: ExperimentConfig) -> Iterator[ExperimentConfig]:
        """Yield the configuration at both ends of every range, and at every choice.

        Raises:
            ValueError: a key is unknown, or an end of its range is not allowed there.
        """
        for parameter in self.parameters:
            context = {key: values[0] for key, values in (parameter.when or {}).items()}
            for value in parameter.extremes():
                yield experiment.with_values({**context, parameter.name: value})

    def suggest(self, trial: "optuna.Trial") -> dict[str, Any]:
        """Draw one point: dotted keys to values, without those whose condition fails."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.asked(values):
                values[parameter.name] = parameter.suggest(trial)
        return values

    def checked_point(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return values that are to be tried, in their keys' types; what is left out is drawn.

        Raises:
            ValueError: a key is not searched, is not asked at these values, or is out of range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for key in point:
            require(key in known, "key of a point", key, ", ".join(known))
        typed = {key: known[key].checked_value(value) for key, value in point.items()}
        for key in typed:
            for condition, allowed in (known[key].when or {}).items():
                met = condition in typed and typed[condition] in allowed
                require(
                    met,
                    f"{condition} of a point with {key}",
                    point.get(condition),
                    ", ".join(str(choice) for choice in allowed),
                )
        return typed


def _checked(parameter: Parameter, earlier: Mapping[str, Parameter]) -> Parameter:
    """Return a parameter, typed; ValueError if it may not follow those `earlier` in the list."""
    name = parameter.name
    allowed = "keys of the training; under unequal protocols no scores compare"
    require(not name.startswith(SCORING), "parameter", name, allowed)
    require(name not in LENGTHS, "parameter", name, "keys that leave the rungs as they are")
    require(name not in earlier, "parameter", name, "each key once")
    typed = parameter.typed()
    for key, values in (typed.when or {}).items():
        choices = earlier[key].choices or () if key in earlier else ()
        known = all(value in choices for value in values)
        allowed = "a list of choices of a parameter listed before"
        require(known, f"condition of {name}", {key: values}, allowed)
    return typed


def load_points(path: Path, space: SearchSpace) -> tuple[dict[str, Any], ...]:
    """Read points of a space from a YAML list of mappings.

    Raises:
        ValueError: the file is unreadable, or a point does not lie in the space.
    """
    content = load_yaml(path)
    if not isinstance(content, list) or not all(isinstance(point, dict) for point in content):
        raise ValueError(f"{path} holds no points; allowed: a list of mappings KEY: VALUE")
    points = []
    for i, point in enumerate(content):
        try:
            points.append(space.checked_point(point))
        except ValueError as error:
            raise ValueError(f"point {i + 1} of {path}: {error}") from error
    return tuple(points)
