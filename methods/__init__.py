"""Test-time adaptation methods for retrieval, one file each.

Importing this package imports no torch: ``BUILTINS`` maps a name to where its class lives, so that
names can be listed at once. Outside packages add methods through the entry-point group
``queryshift.methods``.
"""

from __future__ import annotations

BUILTINS: dict[str, str] = {
    "source": "methods.source:Source",
    "recentre": "methods.recentre:Recentre",
    "tent": "methods.tent:Tent",
    "eata": "methods.eata:Eata",
    "sar": "methods.sar:Sar",
    "read": "methods.read:Read",
    "tcr": "methods.tcr:Tcr",
    "tcr-untrained": "methods.tcr_untrained:TcrUntrained",
    "rest": "methods.rest:Rest",
    "anchored": "methods.anchored:Anchored",
    "shot": "methods.shot:Shot",
    "deyo": "methods.deyo:Deyo",
    "come": "methods.come:Come",
    "rdumb": "methods.rdumb:Rdumb",
    "roid": "methods.roid:Roid",
    "cotta": "methods.cotta:Cotta",
    "memo": "methods.memo:Memo",
    "rpl": "methods.rpl:Rpl",
    "vte": "methods.vte:Vte",
    "lame": "methods.lame:Lame",
    "bn_adapt": "methods.bn_adapt:BnAdapt",
    "hat_vtr": "methods.hat_vtr:HatVtr",
    "inverted_softmax": "methods.inverted_softmax:InvertedSoftmax",
    "qbnorm": "methods.qbnorm:QBNorm",
    "sinkhorn": "methods.sinkhorn:Sinkhorn",
    "nnn": "methods.nnn:NNN",
    "whiten": "methods.whiten:Whiten",
    "tda": "methods.tda:Tda",
}
