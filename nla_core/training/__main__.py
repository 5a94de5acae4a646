"""`python -m nla_core.training recipe.yaml --out folder [--stage ...]`, also under `accelerate`."""

import argparse
import sys
from pathlib import Path

from nla_core.training.config import RecipeError, load_recipe


def main(arguments: list[str] | None = None) -> int:
    """Run a training; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nla_core.training", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--shared", type=Path, help="folder of a training whose activations and warm start serve"
    )
    parser.add_argument("--stage", action="append", help="run this stage only; may be repeated")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    from nla_core.decoding import PromptTooLongError
    from nla_core.sidecar import SidecarError
    from nla_core.training.run import STAGES, Training

    unknown = set(given.stage or ()) - set(STAGES)
    if unknown:
        parser.error(f"no stage {sorted(unknown)[0]!r}; there are {', '.join(STAGES)}")
    if given.device == "cpu":
        import torch

        torch.set_num_threads(1)

    def on_step(stage: str, step: int, steps: int, value: float) -> None:
        if step % 50 == 0 or step == steps:
            print(f"{stage}: step {step} of {steps}, {value:.4f}", flush=True)

    try:
        recipe = load_recipe(given.recipe)
        training = Training(recipe, given.out, given.device, on_step=on_step, shared=given.shared)
        training.run(tuple(given.stage or STAGES))
    except (RecipeError, SidecarError, PromptTooLongError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
