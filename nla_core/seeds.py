"""Seeds that depend on what is being drawn, never on when or beside what it is drawn."""

import hashlib

_SEED_BITS = 63


def derive_seed(seed: int, *labels: str | int) -> int:
    """Derive an independent seed for one labelled draw.

    Args:
        seed: The parent seed.
        *labels: What is drawn, outermost first. `("a", "b")` and `("ab",)` give different seeds.

    Returns:
        An integer in `[0, 2**63)`: the leading bits of SHA-256 over the length-prefixed labels.
    """
    digest = hashlib.sha256(str(seed).encode())
    for label in labels:
        part = f"{type(label).__name__}:{label}".encode()
        digest.update(len(part).to_bytes(8, "big") + part)
    return int.from_bytes(digest.digest()[:8], "big") >> (64 - _SEED_BITS)
