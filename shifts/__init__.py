"""Corruption generators for queries, one file per family.

Importing this package imports neither numpy nor torch: ``BUILTINS`` maps a name to where its class
lives. Outside packages add shifts through the entry-point group ``queryshift.shifts``.
"""

from __future__ import annotations

BUILTINS: dict[str, str] = {
    "none": "shifts.base:NoShift",
    # image
    "gaussian_noise": "shifts.image.noise:GaussianNoise",
    "defocus_blur": "shifts.image.blur:DefocusBlur",
    "contrast": "shifts.image.digital:Contrast",
    "jpeg_compression": "shifts.image.digital:JpegCompression",
    "shot_noise": "shifts.image.noise:ShotNoise",
    "impulse_noise": "shifts.image.noise:ImpulseNoise",
    "speckle_noise": "shifts.image.noise:SpeckleNoise",
    "glass_blur": "shifts.image.blur:GlassBlur",
    "motion_blur": "shifts.image.blur:MotionBlur",
    "zoom_blur": "shifts.image.blur:ZoomBlur",
    "snow": "shifts.image.weather:Snow",
    "frost": "shifts.image.frost:Frost",
    "frost_procedural": "shifts.image.frost:FrostProcedural",
    "fog": "shifts.image.weather:Fog",
    "brightness": "shifts.image.weather:Brightness",
    "elastic_transform": "shifts.image.digital:ElasticTransform",
    "pixelate": "shifts.image.digital:Pixelate",
    "gaussian_blur": "shifts.image.blur:GaussianBlur",
    "saturate": "shifts.image.digital:Saturate",
    "spatter": "shifts.image.weather:Spatter",
    # text, character level
    "char_swap": "shifts.text.characters:CharSwap",
    "char_insert": "shifts.text.characters:CharInsert",
    "char_delete": "shifts.text.characters:CharDelete",
    "char_replace": "shifts.text.characters:CharReplace",
    "keyboard": "shifts.text.characters:Keyboard",
    "ocr": "shifts.text.characters:Ocr",
    # text, word level
    "rs": "shifts.text.words:RandomSwap",
    "rd": "shifts.text.words:RandomDelete",
    "ip": "shifts.text.words:InsertPunctuation",
    "sr_lite": "shifts.text.synonyms:SrLite",
    "ri_lite": "shifts.text.synonyms:RiLite",
    "sr": "shifts.text.synonyms:Sr",
    "ri": "shifts.text.synonyms:Ri",
    # text, sentence level, by rules
    "formal_rules": "shifts.text.sentences:FormalRules",
    "casual_rules": "shifts.text.sentences:CasualRules",
    "passive_rules": "shifts.text.voice:PassiveRules",
    "active_rules": "shifts.text.voice:ActiveRules",
    "paraphrase_rules": "shifts.text.sentences:ParaphraseRules",
    # text, sentence level, by models of the user's
    "formal": "shifts.text.models:Formal",
    "casual": "shifts.text.models:Casual",
    "passive": "shifts.text.models:Passive",
    "active": "shifts.text.models:Active",
    "back_trans": "shifts.text.models:BackTrans",
    # audio
    "audio_gaussian_noise": "shifts.audio.noises:AudioGaussianNoise",
    "traffic": "shifts.audio.noises:Traffic",
    "crowd": "shifts.audio.noises:Crowd",
    "rain": "shifts.audio.noises:Rain",
    "thunder": "shifts.audio.noises:Thunder",
    "wind": "shifts.audio.noises:Wind",
    "traffic_procedural": "shifts.audio.noises:TrafficProcedural",
    "crowd_procedural": "shifts.audio.noises:CrowdProcedural",
    "rain_procedural": "shifts.audio.noises:RainProcedural",
    "thunder_procedural": "shifts.audio.noises:ThunderProcedural",
    "wind_procedural": "shifts.audio.noises:WindProcedural",
    # video; the image shifts frame by frame are added below
    "frame_drop": "shifts.video.order:FrameDrop",
    "frame_freeze": "shifts.video.order:FrameFreeze",
    "frame_jumble": "shifts.video.order:FrameJumble",
    "frame_reverse": "shifts.video.order:FrameReverse",
    "video_compression_jpeg": "shifts.video.compression:VideoCompressionJpeg",
    "temporal_sequence": "shifts.video.sequence:TemporalSequence",
    # composed queries
    "composed": "shifts.composed:ComposedShift",
}
"""name -> "module:Class" of the shift; what it is stands on the class's card."""

BUILTINS |= {
    # The attribute is made when asked for: VideoFog from Fog (shifts.video.per_frame).
    f"video_{name}": f"shifts.video.per_frame:Video{target.partition(':')[2]}"
    for name, target in BUILTINS.items()
    if target.startswith("shifts.image.")
}

ALIASES: dict[str, str] = {"gaussian": "gaussian_noise", "clean": "none"}
"""Declared short names; anything else that is not a name is an error."""
