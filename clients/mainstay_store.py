"""A store for mainstay_write.py: what is still open outlives the process."""

import json
import os
import pathlib
import time
import uuid

TOMBSTONE = 30 * 86400  # seconds: `tombstone_seconds` of /_mainstay/idempotency


class Files(dict):
    """A store: a file a write, on disk before the write is sent. It holds what you send, credentials, too: guard the folder.

    Once Mainstay has forgotten a key, it is a new write: what was begun longer ago than `tombstone` seconds is in `too_old`, and not
    taken up again. Ask /_mainstay/operations?key=KEY&path=PATH about it, or have a person look.
    """

    def __init__(self, folder, tombstone=TOMBSTONE):
        super().__init__()
        self.folder, self.too_old = pathlib.Path(folder), {}
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("*.json"):
            key, *request, body = json.loads(file.read_text())
            is_old = time.time() - file.stat().st_mtime > tombstone
            dict.__setitem__(self.too_old if is_old else self, key, [*request, body.encode("latin-1")])

    def _file(self, key):
        return self.folder / f"{uuid.uuid5(uuid.NAMESPACE_URL, key)}.json"

    def __setitem__(self, key, request):
        if key in self.too_old:
            raise ValueError(f"{key} was begun too long ago to be repeated: it may have happened, ask about it")
        if key in self:
            return  # it keeps the time of its first attempt
        *head, body = request
        with open(self._file(key).with_suffix(".part"), "w") as file:
            file.write(json.dumps([key, *head, (body or b"").decode("latin-1")]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self._file(key))
        super().__setitem__(key, request)

    def __delitem__(self, key):
        super().__delitem__(key)
        self._file(key).unlink(missing_ok=True)
