"""What all vector instructions compute: integers, floats, comparisons."""

from __future__ import annotations

import numpy as np
from gfx942_case import CASES, Case, case
from gfx942_float_cases import conversion_cases, float_cases, is_class, other_floats
from gfx942_integer_cases import dot, integer_cases, short_cases
from lane_oracle import TYPES, ir

__all__ = ["CASES", "Case", "dot"]

PREDICATES = {
    "f": "false", "lt": "olt", "eq": "oeq", "le": "ole", "gt": "ogt", "lg": "one", "ge": "oge", "o": "ord", "u": "uno",
    "nge": "ult", "nlg": "ueq", "ngt": "ule", "nle": "ugt", "neq": "une", "nlt": "uge", "tru": "true",
}  # fmt: skip


def compare_cases() -> None:
    """v_cmp and v_cmpx; integers have no ordering of their own in the IR's kinds, so that u and i differ by name."""
    for name, predicate in PREDICATES.items():
        for k in ("f32", "f64"):
            case(f"v_cmp_{name}_{k}", f"{k} {k} -> m", f"%r = fcmp {predicate} {TYPES[k]} %a, %b")
        wide_one = ir("f32 f32 -> m", f"%r = fcmp {predicate} float %a, %b")
        case(
            f"v_cmp_{name}_f16", "f16 f16 -> m", lambda a, b, f=wide_one: f(a.astype(np.float32), b.astype(np.float32))
        )
    for bits in (16, 32, 64):
        for sign in "iu":
            for name in ("lt", "eq", "le", "gt", "ne", "ge", "f", "t"):
                order = {"i": "s", "u": "u"}[sign] if name in ("lt", "le", "gt", "ge") else ""
                body = {"f": "%r = and i1 false, false", "t": "%r = or i1 true, true"}.get(
                    name, f"%r = icmp {order}{name} i{bits} %a, %b"
                )
                case(f"v_cmp_{name}_{sign}{bits}", f"i{bits} i{bits} -> m", body)
    for k in ("f16", "f32", "f64"):
        case(f"v_cmp_class_{k}", f"{k} i32 -> m", is_class)
    for name, known in list(CASES.items()):
        if name.startswith("v_cmp_"):
            CASES[name.replace("v_cmp_", "v_cmpx_")] = known


integer_cases()
short_cases()
for each_kind in ("f16", "f32", "f64"):
    float_cases(each_kind)
other_floats()
conversion_cases()
compare_cases()
