"""The test's side of src/fault.c: which places there are, what is to happen at them, how often each
was reached. The file is shared with the server's processes."""
import mmap, os, re, struct

SIZE, NAME, ARMS, POINTS = 64, 40, 4, 508
ACTIONS = {name: i + 1 for i, name in enumerate(
    ["kill", "terminate", "cancel", "memory", "disk", "deadlock", "kill server", "stop server", "wait", "memory limit"])}
RAISE = {"memory", "disk", "deadlock"}
IDLE, ARMED, FIRED, WAITING, RELEASED = range(5)


def points_of(source):
    """Names of all places in the sources: {name: may an error be raised there}."""
    found = {}
    for folder, _, files in os.walk(source):
        for file in files:
            if file.endswith(".c") and file != "fault.c":
                with open(os.path.join(folder, file), encoding="utf-8") as f:
                    for mute, name in re.findall(r'LDR_FAULT(_MUTE)?\("([^"]+)"\)', f.read()):
                        assert name not in found, f"fault point {name!r} is there twice"
                        assert len(name) < NAME, name
                        found[name] = not mute
    return found


class Faults:
    def __init__(self, path, names):
        self.names = sorted(names)
        assert len(self.names) <= POINTS
        with open(path, "wb") as f:
            f.write(bytes(SIZE * ARMS))
            for name in self.names:
                f.write(name.encode().ljust(SIZE, b"\0"))
            f.write(bytes(SIZE * (POINTS - len(self.names))))
        os.chmod(path, 0o666)       # the server may be another user's
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), SIZE * (ARMS + POINTS))

    def reached(self):
        return self.counts(0)

    def reached_in_parallel(self):
        """Of that, by parallel workers."""
        return self.counts(8)

    def counts(self, offset):
        return {name: struct.unpack_from("<Q", self.map, SIZE * (ARMS + i) + NAME + offset)[0]
                for i, name in enumerate(self.names)}

    def arm(self, slot, name, action, times, size=0, only_parallel=False):
        at = SIZE * slot
        struct.pack_into("<I", self.map, at + NAME + 8, IDLE)
        self.map[at:at + NAME] = name.encode().ljust(NAME, b"\0")
        struct.pack_into("<Ii", self.map, at + NAME, ACTIONS[action], times)
        struct.pack_into("<iIHH", self.map, at + NAME + 12, 0, size, only_parallel, 0)
        struct.pack_into("<I", self.map, at + NAME + 8, ARMED)

    def state(self, slot):
        return struct.unpack_from("<I", self.map, SIZE * slot + NAME + 8)[0]

    def pid(self, slot):
        return struct.unpack_from("<i", self.map, SIZE * slot + NAME + 12)[0]

    def in_parallel(self, slot):
        """It has happened to a parallel worker."""
        return struct.unpack_from("<H", self.map, SIZE * slot + NAME + 22)[0] != 0

    def release(self, slot):
        if self.state(slot) == WAITING:
            struct.pack_into("<I", self.map, SIZE * slot + NAME + 8, RELEASED)

    def disarm(self):
        for slot in range(ARMS):
            struct.pack_into("<I", self.map, SIZE * slot + NAME + 8, IDLE)
