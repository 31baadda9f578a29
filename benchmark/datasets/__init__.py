"""Loaders of real data sets, one file per format.

Importing this package reads no data: ``BUILTINS`` maps a data set's name to its loader, a function
``load(root, *, split, allow_missing)`` that returns what ``benchmark.datasets.base`` describes.
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
    "nocaps": {
        "target": "benchmark.datasets.nocaps:load_nocaps",
        "summary": "NoCaps validation, all domains, ten captions an image",
    },
    "nocaps-in": {
        "target": "benchmark.datasets.nocaps:load_nocaps_in",
        "summary": "NoCaps validation, in-domain images",
    },
    "nocaps-near": {
        "target": "benchmark.datasets.nocaps:load_nocaps_near",
        "summary": "NoCaps validation, near-domain images",
    },
    "nocaps-out": {
        "target": "benchmark.datasets.nocaps:load_nocaps_out",
        "summary": "NoCaps validation, out-of-domain images",
    },
    "fashion-gen": {
        "target": "benchmark.datasets.fashion_gen:load_fashion_gen",
        "summary": "Fashion-Gen validation, converted to JSON lines; many-to-many products",
    },
    "cuhk-pedes": {
        "target": "benchmark.datasets.person_search:load_cuhk_pedes",
        "summary": "CUHK-PEDES, relevance by identity",
    },
    "icfg-pedes": {
        "target": "benchmark.datasets.person_search:load_icfg_pedes",
        "summary": "ICFG-PEDES, relevance by identity",
    },
    "rsicd": {
        "target": "benchmark.datasets.remote_sensing:load_rsicd",
        "summary": "RSICD, own image relevant",
    },
    "rsitmd": {
        "target": "benchmark.datasets.remote_sensing:load_rsitmd",
        "summary": "RSITMD, own image relevant",
    },
    "rsicd-same-text": {
        "target": "benchmark.datasets.remote_sensing:load_rsicd_same_text",
        "summary": "RSICD, all images with the same text relevant",
    },
    "rsitmd-same-text": {
        "target": "benchmark.datasets.remote_sensing:load_rsitmd_same_text",
        "summary": "RSITMD, all images with the same text relevant",
    },
    "rsicd-first-1000": {
        "target": "benchmark.datasets.remote_sensing:load_rsicd_first_1000",
        "summary": "RSICD, the first 1,000 images of the split",
    },
    "rsitmd-first-450": {
        "target": "benchmark.datasets.remote_sensing:load_rsitmd_first_450",
        "summary": "RSITMD, the first 450 images of the split",
    },
    "audioset": {
        "target": "benchmark.datasets.audio_visual:load_audioset",
        "summary": "AudioSet evaluation, CAV-MAE's retrieval list",
    },
    "vggsound": {
        "target": "benchmark.datasets.audio_visual:load_vggsound",
        "summary": "VGGSound test, CAV-MAE's retrieval list",
    },
    "fashioniq": {
        "target": "benchmark.datasets.fashion_iq:load",
        "summary": "FashionIQ, three categories, galleries of the split files",
    },
    "fashioniq-reduced": {
        "target": "benchmark.datasets.fashion_iq:load_reduced",
        "summary": "FashionIQ, galleries of targets and references only",
    },
    "cirr": {
        "target": "benchmark.datasets.cirr:load",
        "summary": "CIRR rc2, reference left out of its own ranking",
    },
    "mini-coco": {
        "target": "benchmark.mini.data:load",
        "summary": "embedded procedural scenes, five captions an image",
    },
    "mini-flickr": {
        "target": "benchmark.mini.worlds.flickr:load",
        "summary": "embedded posters, a second style of scenes",
    },
    "mini-nocaps-in": {
        "target": "benchmark.mini.worlds.nocaps:load_in",
        "summary": "embedded scenes in another look, known objects",
    },
    "mini-nocaps-near": {
        "target": "benchmark.mini.worlds.nocaps:load_near",
        "summary": "embedded scenes in another look, known and novel objects",
    },
    "mini-nocaps-out": {
        "target": "benchmark.mini.worlds.nocaps:load_out",
        "summary": "embedded scenes in another look, novel objects",
    },
    "mini-fashion": {
        "target": "benchmark.mini.worlds.fashion:load",
        "summary": "embedded garments, many-to-many products",
    },
    "mini-cuhk": {
        "target": "benchmark.mini.worlds.people_data:load_cuhk",
        "summary": "embedded people seen by two cameras, two captions an image",
    },
    "mini-icfg": {
        "target": "benchmark.mini.worlds.people_data:load_icfg",
        "summary": "embedded people seen by two other cameras, one long caption",
    },
    "mini-rsicd": {
        "target": "benchmark.mini.worlds.aerial:load_rsicd",
        "summary": "embedded aerial views",
    },
    "mini-rsitmd": {
        "target": "benchmark.mini.worlds.aerial:load_rsitmd",
        "summary": "embedded aerial views in another look",
    },
    "mini-as": {
        "target": "benchmark.mini.clips.data:load_as",
        "summary": "embedded clips with sounds, several events",
    },
    "mini-vgg": {
        "target": "benchmark.mini.clips.data:load_vgg",
        "summary": "embedded clips with sounds, one event of a class",
    },
    "mini-fiq": {
        "target": "benchmark.mini.composed.data:load_fiq",
        "summary": "embedded garments with changes in words, galleries per category",
    },
    "mini-cirr": {
        "target": "benchmark.mini.composed.data:load_cirr",
        "summary": "embedded scenes with edits in words, reference left out",
    },
}
