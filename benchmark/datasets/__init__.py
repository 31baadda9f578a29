"""Loaders of real data sets, one file per format.

Importing this package reads no data: ``BUILTINS`` maps a data set's name to its loader, a function
``load(root, *, split, allow_missing) -> ImageTextPairs``.
"""

from __future__ import annotations

BUILTINS: dict[str, dict[str, str]] = {
    "coco": {
        "target": "benchmark.datasets.karpathy:load_coco",
        "summary": "COCO 2014, Karpathy split, five captions an image",
    },
    "flickr30k": {
        "target": "benchmark.datasets.karpathy:load_flickr30k",
        "summary": "Flickr30K, Karpathy split, five captions an image",
    },
    "mini-coco": {
        "target": "benchmark.mini.data:load",
        "summary": "embedded procedural scenes, five captions an image",
    },
}
