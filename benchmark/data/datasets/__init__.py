"""Loaders of real data sets, by kind of data set.

Importing this package reads no data: ``BUILTINS`` maps a data set's name to its loader, a function
``load(root, *, split, allow_missing)`` that returns what ``base`` describes.
"""

from __future__ import annotations

BUILTINS: dict[str, str] = {
    "coco": "benchmark.data.datasets.captioned:load_coco",
    "flickr30k": "benchmark.data.datasets.captioned:load_flickr30k",
    "nocaps": "benchmark.data.datasets.captioned:load_nocaps",
    "nocaps-in": "benchmark.data.datasets.captioned:load_nocaps_in",
    "nocaps-near": "benchmark.data.datasets.captioned:load_nocaps_near",
    "nocaps-out": "benchmark.data.datasets.captioned:load_nocaps_out",
    "fashion-gen": "benchmark.data.datasets.captioned:load_fashion_gen",
    "cuhk-pedes": "benchmark.data.datasets.captioned:load_cuhk_pedes",
    "icfg-pedes": "benchmark.data.datasets.captioned:load_icfg_pedes",
    "rsicd": "benchmark.data.datasets.captioned:load_rsicd",
    "rsitmd": "benchmark.data.datasets.captioned:load_rsitmd",
    "audioset": "benchmark.data.datasets.audio_visual:load_audioset",
    "vggsound": "benchmark.data.datasets.audio_visual:load_vggsound",
    "fashioniq": "benchmark.data.datasets.composed:load_fashion_iq",
    "cirr": "benchmark.data.datasets.composed:load_cirr",
    "mini-coco": "benchmark.mini.pictures.data:load",
    "mini-flickr": "benchmark.mini.worlds.poster:load",
    "mini-nocaps-in": "benchmark.mini.pictures.data:load_in",
    "mini-nocaps-near": "benchmark.mini.pictures.data:load_near",
    "mini-nocaps-out": "benchmark.mini.pictures.data:load_out",
    "mini-fashion": "benchmark.mini.worlds.fashion:load",
    "mini-cuhk": "benchmark.mini.worlds.people:load_cuhk",
    "mini-icfg": "benchmark.mini.worlds.people:load_icfg",
    "mini-rsicd": "benchmark.mini.worlds.aerial:load_rsicd",
    "mini-rsitmd": "benchmark.mini.worlds.aerial:load_rsitmd",
    "mini-as": "benchmark.mini.clips.data:load_as",
    "mini-vgg": "benchmark.mini.clips.data:load_vgg",
    "mini-fiq": "benchmark.mini.composed.data:load_fiq",
    "mini-cirr": "benchmark.mini.composed.data:load_cirr",
}
