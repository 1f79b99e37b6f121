"""A store for mainstay_write.py: what is still open outlives the process."""

import json
import os
import pathlib
import uuid


class Files(dict):
    """A store: a file a write, on disk before the write is sent. It holds what you send, credentials, too: guard the folder."""

    def __init__(self, folder):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("*.json"):
            key, method, url, headers, body, *began = json.loads(file.read_text())
            super().__setitem__(key, [method, url, headers, body.encode("latin-1"), *began])

    def _file(self, key):
        return self.folder / f"{uuid.uuid5(uuid.NAMESPACE_URL, key)}.json"

    def __setitem__(self, key, saved):
        method, url, headers, body, began = saved
        with open(self._file(key).with_suffix(".part"), "w") as file:
            file.write(json.dumps([key, method, url, headers, (body or b"").decode("latin-1"), began]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self._file(key))
        if os.name == "posix":  # the name is on disk, too, once its folder is
            folder = os.open(self.folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        super().__setitem__(key, saved)

    def __delitem__(self, key):
        super().__delitem__(key)
        self._file(key).unlink(missing_ok=True)
