"""What a user's folder of data sets must look like, as text: one entry per data set.

``queryshift data check`` shows these, and docs/catalogue.md is made from them.
Importing this module imports nothing else of the package.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """How to lay a data set out below the folder given as DATA.

    Attributes:
        title: the data set and its split.
        files: (path, what it is) of each file or folder.
        access: where to get the files, and under which conditions.
        note: what else a reader must know, or "".
    """

    title: str
    files: tuple[tuple[str, str], ...]
    access: str
    note: str = ""

    @property
    def tree(self) -> str:
        """The files, one a line, with what each is in a second column."""
        width = max(len(path) for path, _ in self.files)
        return "\n".join(f"{path:<{width}}  {what}".rstrip() for path, what in self.files)


_CLIPS = (
    "the list: CAV-MAE's retrieval list of five clips a class; the clips are not redistributed: "
    "fetch them by their ids and extract ten frames and a 16 kHz mono wav of each"
)
_CLIPS_NOTE = (
    "wav and video_path are the list's own. The published lists hold their authors' absolute "
    "paths: replace that beginning by the place of your copy below DATA."
)

LAYOUTS: dict[str, Layout] = {
    "coco": Layout(
        "COCO 2014, Karpathy's test split",
        (
            ("coco/annotations/coco_karpathy_test.json", "BLIP's release"),
            ("coco/annotations/dataset_coco.json", "or Karpathy's own file"),
            ("coco/images/val2014/COCO_val2014_....jpg", "or train2017/ and val2017/"),
        ),
        "images: cocodataset.org, '2014 Val images'; annotations: BLIP's coco_karpathy_test.json "
        "or Karpathy's dataset_coco.json",
        "The first five captions of an image count.",
    ),
    "flickr30k": Layout(
        "Flickr30K, Karpathy's test split",
        (
            ("flickr30k/annotations/flickr30k_test.json", "BLIP's release"),
            ("flickr30k/annotations/dataset_flickr30k.json", "or Karpathy's own file"),
            ("flickr30k/images/flickr30k-images/....jpg", "or flickr30k_images/, Images/"),
        ),
        "images: by the request form of the Flickr30K authors; annotations: BLIP's "
        "flickr30k_test.json or Karpathy's dataset_flickr30k.json",
    ),
    "nocaps": Layout(
        "NoCaps, validation",
        (
            ("nocaps/annotations/nocaps_val_4500_captions.json", "the official file"),
            ("nocaps/annotations/annotations.json", "or TCR's list"),
            ("nocaps/images/....jpg", "or val/, validation/, image/"),
        ),
        "annotations: nocaps.org; images: Open Images validation, named by the annotations",
        "A domain's gallery holds that domain only. The test split's captions are hidden.",
    ),
    "fashion-gen": Layout(
        "Fashion-Gen, validation, as redistributed for Kaleido-BERT",
        (
            ("fashion-gen/fashion_gen_validation.jsonl", "made by the converter"),
            ("fashion-gen/extracted_valid_images/<product>_<k>.png", ""),
        ),
        "restricted licence; from the authors of Fashion-Gen or of Kaleido-BERT",
        "The annotations come as pickles, which can run code; no loader opens them. Convert them "
        "once: python -m benchmark.data.datasets.convert_fashion_gen "
        "full_valid_info_PAI fashion_gen_validation.jsonl",
    ),
    "cuhk-pedes": Layout(
        "CUHK-PEDES",
        (
            ("CUHK-PEDES/reid_raw.json", ""),
            ("CUHK-PEDES/imgs/CUHK01/....png", "and cam_a/, cam_b/, Market/, ..."),
        ),
        "by signed request to the authors of CUHK-PEDES; faces of real people",
    ),
    "icfg-pedes": Layout(
        "ICFG-PEDES",
        (
            ("ICFG-PEDES/ICFG-PEDES.json", "or ICFG_PEDES.json"),
            ("ICFG-PEDES/imgs/test/....jpg", ""),
        ),
        "by signed request to the authors of ICFG-PEDES; faces of real people",
    ),
    "rsicd": Layout(
        "RSICD",
        (
            ("rsicd/dataset_rsicd.json", ""),
            ("rsicd/RSICD_images/....jpg", "or images/"),
        ),
        "free download from the authors of RSICD, without a clear licence",
    ),
    "rsitmd": Layout(
        "RSITMD",
        (
            ("rsitmd/dataset_RSITMD.json", ""),
            ("rsitmd/images/....tif", "or .png"),
        ),
        "from the authors of RSITMD, for academic use",
    ),
    "audioset": Layout(
        "AudioSet evaluation, five clips a class, in CAV-MAE's list form",
        (
            ("audioset/audioset_eval_5_per_class_for_retrieval_cleaned.json", "the list"),
            ("audioset/<video_path>/frame_0/<video_id>.jpg ... frame_9/", "ten frames of each"),
            ("audioset/<wav>", "16-bit PCM, mono, 16 kHz"),
        ),
        _CLIPS,
        _CLIPS_NOTE,
    ),
    "vggsound": Layout(
        "VGGSound test, five clips a class, in CAV-MAE's list form",
        (
            ("vggsound/vgg_test_5_per_class_for_retrieval_cleaned.json", "the list"),
            ("vggsound/<video_path>/frame_0/<video_id>.jpg ... frame_9/", "ten frames of each"),
            ("vggsound/<wav>", "16-bit PCM, mono, 16 kHz"),
        ),
        _CLIPS,
        _CLIPS_NOTE,
    ),
    "fashioniq": Layout(
        "FashionIQ, validation",
        (
            ("fashion-iq/captions/cap.<category>.val.json", "dress, shirt, toptee"),
            ("fashion-iq/image_splits/split.<category>.val.json", "each category's gallery"),
            ("fashion-iq/images/<id>.jpg", "or .png, or below <category>/"),
        ),
        "annotations: the fashion-iq repository (CDLA); pictures: from its list of shop links, "
        "many of them dead, or a complete copy from somebody who has one",
        "A query's reference stays in its category's gallery.",
    ),
    "cirr": Layout(
        "CIRR, release rc2, validation",
        (
            ("cirr/captions/cap.rc2.val.json", "queries"),
            ("cirr/image_splits/split.rc2.val.json", "the gallery"),
            ("cirr/img_raw/dev/<name>.png", "the folder of val is called dev; or .jpg, or flat"),
        ),
        "annotations: the CIRR repository, release rc2 (MIT); pictures: NLVR2's, by the request "
        "form of its authors",
        "A query's reference is left out of its own ranking.",
    ),
}
"""Data set name -> layout. Variants ("nocaps-in") share the entry of their stem."""


def layout_of(dataset: str) -> Layout | None:
    """The layout of a data set or of a variant of one; None where none is known.

    >>> layout_of("nocaps-in") is layout_of("nocaps")
    True
    """
    stems = [name for name in LAYOUTS if f"{dataset}-".startswith(f"{name}-")]
    return LAYOUTS[max(stems, key=len)] if stems else None
