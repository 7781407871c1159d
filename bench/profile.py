# SPDX-License-Identifier: BSD-3-Clause
"""bench/profile.py: the instructions of one request in the server, by room (callgrind).

bench/profile.c runs a server and its client in one thread over a memif, and counts the server's
turns alone. Two runs of different lengths are subtracted, so that beginnings fall out: what is left
is the same on each run of one build. ROOMS says what belongs where; what it does not know is
'other'. An instruction counts for the file its source line is in, so inlined code is found; what
has no source (libraries) counts for its callers. --client counts apps/load's turns as the client in
place of the server's. --flame draws build/bench/profile-WORKLOAD.svg from perf's samples of the
counted side's stacks. --write renews the table in bench/README.md.
"""

import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from bench.common import OUT, ROOT, build, machine, output, save
from bench.flame import draw

# Name of the column: workload, connections. 64: what a turn costs is shared by its requests.
COLUMNS = {
    "http, 1 connection": ("http", 1),
    "http": ("http", 64),
    "http, 16 in a row": ("http-pipelined", 64),
    "http, connection each": ("http-connect", 64),
    "echo 64 B": ("echo", 64),
    "udp echo 64 B": ("udp-echo", 64),
    "kv get": ("kv-get", 64),
}
# With --client: of apps/load.
CLIENT_COLUMNS = {
    "http": ("load-http", 64),
    "echo 64 B": ("load-echo", 256),
    "udp echo 64 B": ("load-udp", 8),
}
# Requests of the shorter run, and of the longer.
SHORT, LONG = 2048, 6144

# In the order of the road. A line of source is "path:function"; the first that fits has it.
ROOMS = (
    ("link rx", r"^net/link/.*(_rx|:apus_link_rx|:apus_steer_.*rx)"),
    ("eth and ip in", r"^net/ip/(eth|ipv4|gro|addr|arp|udp)\.[ch]:"
                      r".*(stack_poll|rx_|_input|_gro_|udp_pop)"
                      r"|^net/stack\.c:(stack_poll|rx_)"),
    ("tcp in", r"^net/tcp/(fast|input|ack|rcvq|ooo|demux|drs|segment|rtt|rack|mchain|challenge"
               r"|timestamp|listen|listener|cookie|isn|timewait|recovery_news|seq|tcb|rate"
               r"|recovery_lone|layer|memory|window)\.[ch]:"
               r"(.*_(arrives|input|parse|rcvq|demux|drs|ack|acked|consume|peek|receive|find"
               r"|listener?|timewait|turn_begins)|stack_poll|rx_)"
               r"|^net/tcp/(fast|input|ack|rcvq|ooo|demux|drs|listen|listener|cookie|isn|timewait"
               r"|challenge|recovery_news|rtt)\.c"
               r"|^net/tcp/.*:(apus_sndq_ack|apus_tcp_call_(receive|peek|consume)|.*_acked)"
               r"|^net/tcp/.*:apus_segment_parse"),
    ("wake", r"^runtime/(sync/waitq|sched/ready|sched/wait|sched/task|sched/park)\.[ch]:.*wake"),
    ("switch", r"^runtime/sched/(park|context|task|return|callback|work|stack|misuse)\."
               r"|^runtime/sync/waitq\."),
    ("loop", r"^runtime/sched/(shard|inbox|wheel|timer|ready|internal|poller|run|idle|sleep)\."
             r"|^runtime/base/(clock|list)\."),
    ("socket", r"^net/socket/"),
    ("http: parse", r"^net/http/(fast|parser|chars|scan|request)\.[ch]"),
    ("http: route", r"^net/http/router\."),
    ("http: response", r"^net/http/(response|response_internal|date)\."),
    ("http: server", r"^net/http/(server|watchdog)\."),
    ("app", r"^(apps|bench)/"),
    ("tcp out", r"^net/tcp/"),
    ("eth and ip out", r"^net/ip/|^net/stack\."),
    ("link tx", r"^net/link/"),
    ("rest of the runtime", r"^runtime/"),
)
# Above all rooms: what is in one of these files is this, whoever it is inlined into.
EVERYWHERE = (
    ("checksums", r"^net/ip/sum\.h:|/rte_ip\.h:"),
    ("mbufs", r"^net/ip/mbuf\.[ch]:|^net/link/pool|/rte_(mbuf|mbuf_core|mempool)\.h:"),
)
# Headers that any room uses: they count for the function they are inlined into.
NEUTRAL = re.compile(r"^net/tcp/[a-z_]+\.h$|^runtime/base/|^/usr/"
                     r"|^net/(ip/addr|ip/bucket|http/chars)\.h$"
                     r"|^runtime/sched/(internal|shard|task|timer|work|wait)\.h$|^\?\?\?$")
LIBRARIES = re.compile(r"\.so(\.|$)")
STACK = ("eth and ip in", "tcp in", "tcp out", "eth and ip out", "checksums", "mbufs")


def options(p):
    p.add_argument("workload", nargs="?", help="only columns of this one; 'bench/profile' lists "
                   "them")
    p.add_argument("--client", action="store_true",
                   help="count apps/load's turns in place of the server's")
    p.add_argument("--functions", type=int, default=0, metavar="N",
                   help="show the N dearest functions, too")
    p.add_argument("--flame", action="store_true", help="draw flame graphs (needs perf)")
    p.add_argument("--write", action="store_true", help="renew the table in bench/README.md")


# ---- callgrind's file

def short(path):
    """A path within the tree; others as they are."""
    found = re.search(r"(?:^|/)((?:net|runtime|apps|bench)/[\w/]+\.\w+)$", path)
    return found.group(1) if found and "/include/" not in path else path


class Counts:
    """Of one run: what each line's place costs itself, and who calls libraries for how much."""

    def __init__(self, text):
        self.own = collections.Counter()    # (file, function, object, file of function) -> Ir
        self.calls = collections.Counter()  # (place of the caller, function, object) -> Ir
        self.names = {}
        place = {"ob": "", "fl": "", "fn": "", "fi": ""}
        callee = None
        for line in text.splitlines():
            key, _, value = line.partition("=")
            if key in ("ob", "fl", "fn", "fi", "fe", "cob", "cfi", "cfl", "cfn"):
                value = self.name(key, value)
                if key == "fl":
                    place["fi"] = value
                if key in ("cob", "cfn"):
                    callee = {**(callee or {}), key: value}
                elif key not in ("cfi", "cfl"):
                    place["fi" if key == "fe" else key] = value
            elif key == "calls":
                callee = {"cob": place["ob"], **callee}
            elif re.match(r"[+*\d-]", line):
                count = int(line.split()[1])
                at = (place["fi"], place["fn"], place["ob"], place["fl"])
                if callee:
                    self.calls[at, callee["cfn"], callee["cob"]] += count
                    callee = None
                else:
                    self.own[at] += count
        said = int(re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE).group(1))
        if sum(self.own.values()) != said:
            sys.exit(f"bench: read {sum(self.own.values())} instructions of {said}")

    def name(self, key, value):
        """Names are given once, with a number, which stands for them after that."""
        kind = {"ob": "ob", "cob": "ob", "fn": "fn", "cfn": "fn"}.get(key, "fl")
        number, _, text = value.partition(" ")
        if text:
            # A recursion has the name with "'2" behind it; a switch looks like one.
            text = re.sub(r"'\d+$", "", text) if kind == "fn" else text
            self.names[kind, number] = short(text) if kind == "fl" else text
        return self.names[kind, number]


def counts_of(program, workload, requests, connections):
    with tempfile.NamedTemporaryFile() as file:
        result = subprocess.run(
            ["valgrind", "--tool=callgrind", "--collect-atstart=no",
             f"--callgrind-out-file={file.name}", str(program), workload, str(requests),
             str(connections)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if result.returncode:
            sys.exit(result.stderr + f"bench: {workload} failed under callgrind (above)")
        return Counts(pathlib.Path(file.name).read_text())


def difference(a, b, requests):
    return {key: (b[key] - a[key]) / requests for key in a | b if b[key] != a[key]}


# ---- rooms

def room_of(place):
    """Return: the room of one place; None: a library's, or nobody's."""
    inlined, function, _, file = place
    for name, pattern in EVERYWHERE:
        if re.search(pattern, f"{inlined}:{function}"):
            return name
    path = file if NEUTRAL.search(inlined) and not (
        inlined.startswith("net/tcp/") and not file.startswith("net/tcp/")) else inlined
    for name, pattern in ROOMS:
        if re.search(pattern, f"{path}:{function}"):
            return name
    return None


def shares_of(function, calls, seen):
    """Of a library's function: how much is for which room, by what its callers spent in it."""
    shares = collections.Counter()
    if function in seen:
        return shares
    for place, count in calls.get(function, ()):
        if count <= 0:
            continue
        if LIBRARIES.search(place[2]) and not room_of(place):
            inner = shares_of((place[1], place[2]), calls, seen | {function})
            total = sum(inner.values())
            for name, part in inner.items():
                shares[name] += count * part / total
        else:
            shares[room_of(place) or "other"] += count
    return shares


def budget(own, calls):
    """Return: instructions by room, and by (room, function)."""
    rooms, functions = collections.Counter(), collections.Counter()
    callers = collections.defaultdict(list)
    for (place, function, ob), count in calls.items():
        callers[function, ob].append((place, count))
    for place, count in own.items():
        room = room_of(place)
        shares = {room or "other": 1}
        if not room and LIBRARIES.search(place[2]):
            shares = shares_of((place[1], place[2]), callers, frozenset()) or shares
        total = sum(shares.values())
        for name, part in shares.items():
            rooms[name] += count * part / total
            shown = place[1] if place[0] == place[3] else f"{place[1]} ({place[0]})"
            if re.match("0x", shown):
                shown = f"{pathlib.Path(place[2]).name.split('.')[0]} {shown[-5:]}"
            functions[name, shown] += count * part / total
    return rooms, functions


def measure(program, workload, connections):
    runs = [counts_of(program, workload, n, connections) for n in (SHORT, LONG)]
    return budget(*(difference(getattr(runs[0], what), getattr(runs[1], what), LONG - SHORT)
                    for what in ("own", "calls")))


# ---- what is shown

def table(columns):
    """Lines of Markdown."""
    names = [name for name, _ in ROOMS]
    names += [name for name, _ in EVERYWHERE] + ["other"]
    rows = [["room", *columns]]
    for name in names:
        if any(abs(rooms[name]) >= sum(rooms.values()) / 1000 for rooms in columns.values()):
            rows.append([name, *(f"{round(rooms[name]):,}" for rooms in columns.values())])
    rows.append(["**TCP/IP stack**",
                 *(f"**{sum(rooms[n] for n in STACK):,.0f}**" for rooms in columns.values())])
    rows.append(["**all**", *(f"**{sum(rooms.values()):,.0f}**" for rooms in columns.values())])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(row, widths))) + " |"
             for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":"
                                   for i, w in enumerate(widths)) + "|")
    return lines


BEGIN, END = "<!-- scripts/bench {} --write -->", "<!-- end -->"


def write(lines, client):
    begin = BEGIN.format("profile --client" if client else "profile")
    path = ROOT / "bench/README.md"
    text = path.read_text()
    if text.count(begin) != 1 or END not in text.split(begin)[1]:
        sys.exit(f"bench: {path} has no place for the table: {begin} ... {END}")
    before, rest = text.split(begin)
    after = rest.split(END, 1)[1]
    side = "load generator" if client else "server"
    at = f"Instructions of one request in the {side}, at {machine()['commit']}:"
    path.write_text("\n".join([before + begin, at, "", *lines, END + after]))


# ---- flame graph

TASKS = {"begin", "converse", "exchange", "generate", "load_run_datagram", "load_run_stream"}


def is_counted(stack, client):
    """The loop's stack is the counted side's below counted_turn(); a task's by its function."""
    if "main" in stack:
        return "counted_turn" in stack
    return bool(TASKS & set(stack)) == client


def flame(program, workload, connections, client):
    """From perf: real stacks, which callgrind loses where tasks switch."""
    requests = 20000 if workload == "http-connect" else 1000000  # a client's ports end
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "perf.data")
        subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-F", "9999", "--call-graph",
                        "fp", "-o", data, str(program), workload, str(requests),
                        str(connections)],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        text = output(["perf", "script", "-i", data, "-F", "ip,sym"])
    stacks = collections.Counter()
    for sample in text.split("\n\n"):
        names = [line.split(None, 1)[1] for line in sample.splitlines()
                 if len(line.split()) > 1][::-1]
        names = [re.sub(r"\.(isra|constprop|part|cold)\b.*", "", n) for n in names
                 if n and n != "[unknown]"]
        if names and is_counted(names, client):
            first = names.index("counted_turn") + 1 if "counted_turn" in names else 0
            stacks[tuple(names[first:])] += 1
    path = OUT / f"profile-{workload}-{connections}.svg"
    OUT.mkdir(parents=True, exist_ok=True)
    path.write_text(draw(stacks, f"{workload}, {connections} connections: the "
                         f"{'client' if client else 'server'}'s time"))
    print(f"drawn: {path.relative_to(ROOT)}")


def run(args):
    # Debug information, for the files of inlined code; valgrind 3.19 knows no AVX-512.
    program = build("profile", ["bench/profile"], "-Dmarch=haswell", "-Ddebug=true")
    program = program / "bench/profile"
    columns = {}
    sides = CLIENT_COLUMNS if args.client else COLUMNS
    for name, (workload, connections) in sides.items():
        if args.workload and workload != args.workload:
            continue
        columns[name], functions = measure(program, workload, connections)
        if args.functions:
            print(name)
            for (room, function), count in functions.most_common(args.functions):
                print(f"{count:10.1f}  {room:20} {function}")
        if args.flame:
            flame(program, workload, connections, args.client)
    if not columns:
        sys.exit(f"bench: no workload {args.workload}; there are: "
                 + ", ".join(sorted({w for w, _ in sides.values()})))
    lines = table(columns)
    print("\n".join(lines))
    if args.write:
        write(lines, args.client)
    save("profile-client" if args.client else "profile",
         {name: {room: round(count, 1) for room, count in rooms.items()}
          for name, rooms in columns.items()},
         counts={name: round(sum(rooms.values()), 1) for name, rooms in columns.items()})
