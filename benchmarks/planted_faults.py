"""What the works of a switch show of a fault by themselves: Gaussian works with a fault, verdicts counted.

Forward works are normal around dF + s^2/2, reverse ones around -dF + s^2/2, of standard deviation s, which
obeys Crooks' theorem. Each case has twenty sets. Prints one JSON object: PASS, WARN and FAIL of each.
Run: python benchmarks/planted_faults.py [--sets 20]
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.estimation.diagnostics import verdict

Works = NDArray[np.float64]
Pair = tuple[Works, Works]


def works(rng: np.random.Generator, count: int, spread: float, df: float = 0.0) -> Pair:
    half = spread**2 / 2
    return rng.normal(df + half, spread, count), rng.normal(-df + half, spread, count)


def sound(rng: np.random.Generator, count: int, spread: float) -> Pair:
    return works(rng, count, spread, 2.0)


def of_another_leg(rng: np.random.Generator, count: int, spread: float) -> Pair:
    return works(rng, count, spread)[0], works(rng, count, spread, 1.0)[1]


def wrong_sign(rng: np.random.Generator, count: int, spread: float) -> Pair:
    forward, reverse = works(rng, count, spread, 2.0)
    return forward, -reverse


def wrong_unit(rng: np.random.Generator, count: int, spread: float) -> Pair:
    forward, reverse = works(rng, count, spread, 2.0)
    return forward / 4.184, reverse / 4.184


def swapped(rng: np.random.Generator, count: int, spread: float) -> Pair:
    return works(rng, count, spread, 2.0)[::-1]


def exchanged(apart: float) -> Callable[[np.random.Generator, int, float], Pair]:
    def half_of_each(rng: np.random.Generator, count: int, spread: float) -> Pair:
        one, other = works(rng, count, spread), works(rng, count, spread, apart)
        n = count // 2
        forward, reverse = (np.concatenate([a[:n], b[n:]]) for a, b in zip(one, other, strict=True))
        return forward, reverse

    return half_of_each


CASES = {
    "none": (sound, ((40, 1.0), (100, 1.5), (200, 1.0))),
    "reverse works of a leg 1 kT away": (of_another_leg, ((50, 1.0), (100, 1.5), (200, 1.0))),
    "reverse works with the wrong sign, dF = 2 kT": (wrong_sign, ((100, 1.0), (100, 1.5))),
    "half of each direction of legs 1.5 kT apart exchanged": (exchanged(1.5), ((80, 1.0),)),
    "half of each direction of legs 3 kT apart exchanged": (exchanged(3.0), ((40, 1.0),)),
    "kcal/mol taken for kJ/mol": (wrong_unit, ((50, 1.0), (100, 1.0))),
    "forward and reverse exchanged": (swapped, ((100, 1.5),)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=20)
    sets = parser.parse_args().sets
    out = {}
    for name, (make, sizes) in CASES.items():
        for count, spread in sizes:
            levels = Counter(
                verdict(*make(np.random.default_rng(seed), count, spread)).level for seed in range(sets)
            )
            out[f"{name}; {count} works a side, {spread:g} kT"] = {
                level: levels[level] for level in ("PASS", "WARN", "FAIL")
            }
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
