"""What a manifest says of the frames."""

from __future__ import annotations

import hashlib

from acclimate.adapt.leave import seen


def test_the_digest_is_of_which_frames_not_of_their_order() -> None:
    names = ["0000000002-bb", "0000000001-aa"]
    digest = hashlib.sha256(b"0000000001-aa\n0000000002-bb").hexdigest()
    assert seen(names) == seen(names[::-1]) == {"frames": 2, "digest": digest}
    assert seen(names[:1])["digest"] != digest
