"""What verdicts and problems of readings are called, for auditors and for people."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nla_core.pair import Verdict

VERDICTS: "dict[Verdict, str]" = {
    "carries": "better than all nulls",
    "random": "indistinguishable from a random vector",
    "mean": "no better than the average activation",
    "shuffled": "no better than another place's explanation",
    "context": "no better than a copy of the text",
    "unscored": "not scored",
}
"""What each verdict of `nla_core.pair.verdict_of` is called."""
PROBLEMS = {
    "no_explanation": "the verbalizer gave no explanation",
    "empty_explanation": "the explanation is empty",
    "zero_activation": "the activation has no direction",
    "not_finite": "the activation is not finite",
    "too_long": "the explanation is too long for the reconstructor",
}
"""What each problem of a fidelity is called."""
