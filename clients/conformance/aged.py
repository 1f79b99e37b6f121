"""The store of files does not take up what Mainstay may have forgotten, however often a process began again in between."""

import os
import time

import drive  # noqa: F401, for the path to the kit
from mainstay_store import TOMBSTONE, Files


def faults(home):
    request = ["POST", "http://pay/payments", {}, b"{}"]
    for key in ["young", "old"]:
        Files(home)[key] = request
    (old,) = [file for file in home.glob("*.json") if '"old"' in file.read_text()]
    for age in [0.9, 1.1]:
        began = time.time() - age * TOMBSTONE
        os.utime(old, (began, began))
        store = Files(home)
        if ("old" in store) != (age < 1) or ("old" in store.too_old) != (age > 1) or "young" not in store:
            yield f"of two writes, one {age} tombstones old, it has {sorted(store)}, and {sorted(store.too_old)} as too old"
        if age < 1:
            store["old"] = request  # it is taken up
            if abs(old.stat().st_mtime - began) > 1:
                yield "a repeat makes a write young"
        else:
            try:
                store["old"] = request
                yield "what is too old is begun again"
            except ValueError:
                pass
