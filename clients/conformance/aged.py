"""A write that was begun longer ago than Mainstay knows its key is told as unknown, and not repeated, however often a process began
again in between, and in whatever language."""

import re

from conversations import AGED

DAY = 86400
TIME = re.compile(r"(?<![\w.])(\d{10}(?:\.\d+)?|\d{13})(?![\w.])")  # seconds, or milliseconds


def age(folder, days):
    """Has what is in a store have begun some days earlier than it says."""
    for file in folder.iterdir():
        text = file.read_text()
        # 13 digits are milliseconds.
        older = TIME.sub(lambda at: str(round(float(at[1]) - days * DAY * (1000 if len(at[1]) == 13 and "." not in at[1] else 1))), text)
        if older != text:
            file.write_text(older)


def faults(client, scene):
    """Plays AGED, with a client that has just begun: taken up on the 27th day, not on the 33rd, and not begun again either."""
    store = client.folder(scene)
    client.say(scene)
    for number, days in enumerate([27, 6], 1):
        if not scene.wait_for_posts(number):
            yield f"attempt {number} of 2 is not made: what was begun 27 days ago may be repeated"
            return
        client.kill()
        age(store, days)
        client.start()
        client.say(scene, resume=True)
    told = client.hear()
    yield from scene.faults(told)
    yield from badly_told(told, scene)
    client.say(scene, key=scene.posts[0][0])
    yield from badly_told(client.hear(), scene)
    if len(scene.posts) > AGED.times:
        yield "what is too old is begun again"
    if not any(TIME.search(file.read_text()) for file in store.iterdir()):
        yield "what is too old is lost"


def badly_told(told, scene):
    """Where it is to be asked about has to be said."""
    key, path = scene.posts[0][0], scene.path.replace("/", "(?:/|%2F)")
    if not re.search(rf"\ttoo old: http://[\d.:]+/_mainstay/operations\?key={re.escape(key)}&path={path}(?: |$)", told):
        yield f"does not say that it is too old, and where to ask: {told!r}"
