"""`auditor nla`: reading activations with a Natural Language Autoencoder. One file a command."""

import typer

from auditor.cli.nla_card import card
from auditor.cli.nla_eval import evaluate
from auditor.cli.nla_explain import explain
from auditor.cli.nla_score import score
from auditor.cli.nla_train import train

nla = typer.Typer(
    name="nla",
    no_args_is_help=True,
    help="Read a model's activations in words, and learn how far each reading can be trusted.",
)
nla.command("explain")(explain)
nla.command("score")(score)
nla.command("eval")(evaluate)
nla.command("train")(train)
nla.command("card")(card)
