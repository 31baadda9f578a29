"""Corruption generators for queries, one file per family.

Importing this package imports neither numpy nor torch: ``BUILTINS`` maps a name to where its class
lives. Outside packages add shifts through the entry-point group ``queryshift.shifts``.
"""

from __future__ import annotations

BUILTINS: dict[str, dict[str, str]] = {
    "none": {
        "target": "shifts.none:NoShift",
        "modality": "any",
        "summary": "clean queries, for in-domain reference",
    },
    # image
    "gaussian_noise": {
        "target": "shifts.image.noise:GaussianNoise",
        "modality": "image",
        "summary": "additive Gaussian noise, per pixel and channel",
    },
    "defocus_blur": {
        "target": "shifts.image.blur:DefocusBlur",
        "modality": "image",
        "summary": "disc blur",
    },
    "contrast": {
        "target": "shifts.image.digital:Contrast",
        "modality": "image",
        "summary": "values drawn towards each channel's mean",
    },
    "jpeg_compression": {
        "target": "shifts.image.digital:JpegCompression",
        "modality": "image",
        "summary": "JPEG artefacts",
    },
    "shot_noise": {
        "target": "shifts.image.noise:ShotNoise",
        "modality": "image",
        "summary": "Poisson noise of few photons",
    },
    "impulse_noise": {
        "target": "shifts.image.noise:ImpulseNoise",
        "modality": "image",
        "summary": "salt and pepper, per channel",
    },
    "speckle_noise": {
        "target": "shifts.image.noise:SpeckleNoise",
        "modality": "image",
        "summary": "multiplicative Gaussian noise",
    },
    "glass_blur": {
        "target": "shifts.image.blur:GlassBlur",
        "modality": "image",
        "summary": "frosted glass: pixels moved about between two blurs",
    },
    "motion_blur": {
        "target": "shifts.image.blur:MotionBlur",
        "modality": "image",
        "summary": "camera shake",
    },
    "zoom_blur": {
        "target": "shifts.image.blur:ZoomBlur",
        "modality": "image",
        "summary": "zooming during exposure",
    },
    "snow": {
        "target": "shifts.image.weather:Snow",
        "modality": "image",
        "summary": "falling snow",
    },
    "frost": {
        "target": "shifts.image.frost:Frost",
        "modality": "image",
        "summary": "frost photographs blended in",
    },
    "frost_procedural": {
        "target": "shifts.image.frost:FrostProcedural",
        "modality": "image",
        "summary": "procedural frost blended in (no photographs needed)",
    },
    "fog": {
        "target": "shifts.image.weather:Fog",
        "modality": "image",
        "summary": "fog banks",
    },
    "brightness": {
        "target": "shifts.image.weather:Brightness",
        "modality": "image",
        "summary": "daylight added",
    },
    "elastic_transform": {
        "target": "shifts.image.elastic:ElasticTransform",
        "modality": "image",
        "summary": "local stretching and squeezing",
    },
    "pixelate": {
        "target": "shifts.image.digital:Pixelate",
        "modality": "image",
        "summary": "coarse square cells",
    },
    "gaussian_blur": {
        "target": "shifts.image.blur:GaussianBlur",
        "modality": "image",
        "summary": "Gaussian blur",
    },
    "saturate": {
        "target": "shifts.image.digital:Saturate",
        "modality": "image",
        "summary": "colour drained (1, 2) or boosted (3 to 5)",
    },
    "spatter": {
        "target": "shifts.image.spatter:Spatter",
        "modality": "image",
        "summary": "water (1 to 3) or mud (4, 5) on the lens",
    },
    # text, character level
    "char_swap": {
        "target": "shifts.text.characters:CharSwap",
        "modality": "text",
        "summary": "characters of words swapped with a neighbour",
    },
    "char_insert": {
        "target": "shifts.text.characters:CharInsert",
        "modality": "text",
        "summary": "random symbols inserted into words",
    },
    "char_delete": {
        "target": "shifts.text.characters:CharDelete",
        "modality": "text",
        "summary": "characters of words deleted",
    },
    "char_replace": {
        "target": "shifts.text.characters:CharReplace",
        "modality": "text",
        "summary": "characters of words replaced by random symbols",
    },
    "keyboard": {
        "target": "shifts.text.characters:Keyboard",
        "modality": "text",
        "summary": "characters replaced by a neighbouring key",
    },
    "ocr": {
        "target": "shifts.text.characters:Ocr",
        "modality": "text",
        "summary": "characters confused with look-alikes, as by optical recognition",
    },
    # text, word level
    "rs": {
        "target": "shifts.text.words:RandomSwap",
        "modality": "text",
        "summary": "random pairs of words swapped",
    },
    "rd": {
        "target": "shifts.text.words:RandomDelete",
        "modality": "text",
        "summary": "words deleted at random",
    },
    "ip": {
        "target": "shifts.text.words:InsertPunctuation",
        "modality": "text",
        "summary": "punctuation marks inserted between words",
    },
    "sr_lite": {
        "target": "shifts.text.synonyms:SrLite",
        "modality": "text",
        "summary": "words replaced by synonyms of a small list",
    },
    "ri_lite": {
        "target": "shifts.text.synonyms:RiLite",
        "modality": "text",
        "summary": "synonyms of a small list inserted",
    },
    "sr": {
        "target": "shifts.text.synonyms:Sr",
        "modality": "text",
        "summary": "words replaced by WordNet synonyms",
    },
    "ri": {
        "target": "shifts.text.synonyms:Ri",
        "modality": "text",
        "summary": "WordNet synonyms inserted",
    },
    # text, sentence level, by rules
    "formal_rules": {
        "target": "shifts.text.sentences:FormalRules",
        "modality": "text",
        "summary": "formal register by rules: contractions, word pairs",
    },
    "casual_rules": {
        "target": "shifts.text.sentences:CasualRules",
        "modality": "text",
        "summary": "casual register by rules: contractions, word pairs, fillers",
    },
    "passive_rules": {
        "target": "shifts.text.voice:PassiveRules",
        "modality": "text",
        "summary": "passive voice by rules",
    },
    "active_rules": {
        "target": "shifts.text.voice:ActiveRules",
        "modality": "text",
        "summary": "active voice by rules",
    },
    "paraphrase_rules": {
        "target": "shifts.text.sentences:ParaphraseRules",
        "modality": "text",
        "summary": "other prepositions, quantities and order, by rules",
    },
    # text, sentence level, by models of the user's
    "formal": {
        "target": "shifts.text.models:Formal",
        "modality": "text",
        "summary": "formal register by a T5 style model",
    },
    "casual": {
        "target": "shifts.text.models:Casual",
        "modality": "text",
        "summary": "casual register by a T5 style model",
    },
    "passive": {
        "target": "shifts.text.models:Passive",
        "modality": "text",
        "summary": "passive voice by a T5 style model",
    },
    "active": {
        "target": "shifts.text.models:Active",
        "modality": "text",
        "summary": "active voice by a T5 style model",
    },
    "back_trans": {
        "target": "shifts.text.models:BackTrans",
        "modality": "text",
        "summary": "translated to another language and back, by two models",
    },
    # audio
    "audio_gaussian_noise": {
        "target": "shifts.audio.noises:AudioGaussianNoise",
        "modality": "audio",
        "summary": "white Gaussian noise",
    },
    "traffic": {
        "target": "shifts.audio.noises:Traffic",
        "modality": "audio",
        "summary": "a recording of traffic added",
    },
    "crowd": {
        "target": "shifts.audio.noises:Crowd",
        "modality": "audio",
        "summary": "a recording of a crowd added",
    },
    "rain": {
        "target": "shifts.audio.noises:Rain",
        "modality": "audio",
        "summary": "a recording of rain added",
    },
    "thunder": {
        "target": "shifts.audio.noises:Thunder",
        "modality": "audio",
        "summary": "a recording of thunder added",
    },
    "wind": {
        "target": "shifts.audio.noises:Wind",
        "modality": "audio",
        "summary": "a recording of wind added",
    },
    "traffic_procedural": {
        "target": "shifts.audio.noises:TrafficProcedural",
        "modality": "audio",
        "summary": "synthetic traffic added (no recording needed)",
    },
    "crowd_procedural": {
        "target": "shifts.audio.noises:CrowdProcedural",
        "modality": "audio",
        "summary": "synthetic babble added (no recording needed)",
    },
    "rain_procedural": {
        "target": "shifts.audio.noises:RainProcedural",
        "modality": "audio",
        "summary": "synthetic rain added (no recording needed)",
    },
    "thunder_procedural": {
        "target": "shifts.audio.noises:ThunderProcedural",
        "modality": "audio",
        "summary": "synthetic thunder added (no recording needed)",
    },
    "wind_procedural": {
        "target": "shifts.audio.noises:WindProcedural",
        "modality": "audio",
        "summary": "synthetic wind added (no recording needed)",
    },
    # video; the image shifts frame by frame are added below
    "frame_drop": {
        "target": "shifts.video.order:FrameDrop",
        "modality": "video",
        "summary": "every k-th frame kept and held",
    },
    "frame_freeze": {
        "target": "shifts.video.order:FrameFreeze",
        "modality": "video",
        "summary": "a few random frames kept and held",
    },
    "frame_jumble": {
        "target": "shifts.video.order:FrameJumble",
        "modality": "video",
        "summary": "frames shuffled inside segments, shorter at higher severity",
    },
    "frame_reverse": {
        "target": "shifts.video.order:FrameReverse",
        "modality": "video",
        "summary": "every k-th frame kept and held, played backwards",
    },
    "video_compression_jpeg": {
        "target": "shifts.video.compression:VideoCompressionJpeg",
        "modality": "video",
        "summary": "predicted frames coded as JPEG, in place of a video codec",
    },
    "temporal_sequence": {
        "target": "shifts.video.sequence:TemporalSequence",
        "modality": "video",
        "summary": "segments of a clip under different image shifts",
    },
    # composed queries
    "composed": {
        "target": "shifts.composed:ComposedShift",
        "modality": "composed",
        "summary": "an image shift, a text shift or both on a composed query",
    },
}
"""name -> target ("module:Class"), modality ("image", "text", "audio", "video", "composed", "any"),
summary."""


def video_summary(summary: str) -> str:
    """The summary of an image shift when it is applied frame by frame."""
    return f"{summary}; frame by frame"


BUILTINS |= {
    f"video_{name}": {
        # The attribute is made when asked for: VideoFog from Fog (shifts.video.per_frame).
        "target": f"shifts.video.per_frame:Video{entry['target'].partition(':')[2]}",
        "modality": "video",
        "summary": video_summary(entry["summary"]),
    }
    for name, entry in BUILTINS.items()
    if entry["modality"] == "image"
}

ALIASES: dict[str, str] = {"gaussian": "gaussian_noise"}
"""Declared short names; anything else that is not a name is an error."""
