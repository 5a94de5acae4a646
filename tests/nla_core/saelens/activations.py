"""Writes `sandbox/activations.safetensors`: activations of the sandbox's base, for `write.py`.

Runs in this project's own environment: `python tests/nla_core/saelens/activations.py`.
"""

from pathlib import Path

from safetensors.torch import save_file

from nla_core.sae import read_config
from scenarios.sandbox.build import load_base
from scenarios.sandbox.sae import places_of

ROOT = Path(__file__).parents[3]
WEIGHTS = ROOT / "scenarios" / "sandbox" / "weights"
PLACES = 32

if __name__ == "__main__":
    model, tokenizer = load_base(WEIGHTS / "base")
    layer = read_config(WEIGHTS / "sae").layer
    x = places_of(model, tokenizer, layer=layer, split="held_out", n=20).x
    folder = Path(__file__).parent / "sandbox"
    folder.mkdir(exist_ok=True)
    few = x[:: len(x) // PLACES][:PLACES]
    save_file({"x": few.float().contiguous()}, folder / "activations.safetensors")
