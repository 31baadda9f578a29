"""Test-time adaptation methods for retrieval, one file each.

Importing this package imports no torch: ``BUILTINS`` maps a name to where its class lives, so that
names can be listed at once. Outside packages add methods through the entry-point group
``queryshift.methods``.
"""

from __future__ import annotations

BUILTINS: dict[str, dict[str, str]] = {
    "source": {
        "target": "methods.source:Source",
        "summary": "no adaptation: the frozen source model",
    },
    "recentre": {
        "target": "methods.recentre:Recentre",
        "summary": "training-free: the batch's query mean is moved onto the gallery mean",
    },
    "tent": {
        "target": "methods.tent:Tent",
        "summary": "entropy minimisation (Wang et al., ICLR 2021)",
    },
    "eata": {
        "target": "methods.eata:Eata",
        "summary": "entropy of reliable, non-redundant queries (Niu et al., ICML 2022)",
    },
    "sar": {
        "target": "methods.sar:Sar",
        "summary": "sharpness-aware entropy minimisation with resets (Niu et al., ICLR 2023)",
    },
    "read": {
        "target": "methods.read:Read",
        "summary": "confidence-weighted entropy and class balance (Yang et al., ICLR 2024)",
    },
    "tcr": {
        "target": "methods.tcr:Tcr",
        "summary": "refined predictions, uniformity, gap (Li et al., ICLR 2025)",
    },
    "rest": {
        "target": "methods.rest:Rest",
        "summary": "REST-style (our reading): TCR's terms with gradient decoupling",
    },
}
