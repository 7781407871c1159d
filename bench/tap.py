# SPDX-License-Identifier: BSD-3-Clause
"""bench/tap.py: HTTP and echo over net_tap against kernel clients, beside nginx on a veth."""

import argparse
import json
import os
import pathlib
import re
import subprocess
import time

from bench.common import (BUILD, CLIENT_CORE, OUT, ROOT, SERVER_CORE, Server, build, call, output,
                          save, summary)


def options(p):
    p.add_argument("--repeat", type=int, default=3, help="runs of each")
    p.add_argument("--seconds", type=int, default=2, help="length of each run")
    p.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)


def ip(*words, pid=None):
    enter = ["nsenter", "-t", str(pid), "-n"] if pid else []
    call([*enter, "ip", *words])


def tap_up(_pid):
    for _ in range(100):
        if pathlib.Path("/sys/class/net/dtap0").exists() or subprocess.run(
                ["ip", "link", "show", "dtap0"], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL).returncode == 0:
            break
        time.sleep(0.05)
    ip("addr", "add", "10.7.0.1/24", "dev", "dtap0")
    ip("link", "set", "dtap0", "up")


def start_app(path, app, *options):
    return Server([path / "apps" / app, "--cores", SERVER_CORE, "--ip", "10.7.0.2/24", *options],
                  ["ping", "-c1", "-W1", "10.7.0.2"], tap_up)


NGINX_CONF = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000; default_type text/plain;
    client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
    uwsgi_temp_path {dir}; scgi_temp_path {dir};
    server {{ listen 80; location / {{ return 200 "Hello, World!\\n"; }} }}
}}
"""


def start_nginx():
    directory = OUT / "nginx"
    directory.mkdir(parents=True, exist_ok=True)
    # A path with a space would end nginx's directive: it is started in its directory instead.
    (directory / "nginx.conf").write_text(NGINX_CONF.format(dir="."))

    def veth_up(pid):
        while os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
        ip("link", "set", "veth1", "netns", str(pid))
        ip("addr", "add", "10.8.0.1/24", "dev", "veth0")
        ip("link", "set", "veth0", "up")
        ip("addr", "add", "10.8.0.2/24", "dev", "veth1", pid=pid)
        ip("link", "set", "veth1", "up", pid=pid)

    os.chdir(directory)
    return Server(["unshare", "-n", "taskset", "-c", SERVER_CORE, "nginx", "-p", ".", "-c",
                   "nginx.conf", "-e", "error.log"],
                  ["curl", "-sf", "-m", "1", "http://10.8.0.2/"], veth_up)


def wrk(host, connections, seconds):
    text = output(["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{connections}",
                   f"-d{seconds}s", "--latency", f"http://{host}/"])
    unit = {"us": 1e3, "ms": 1e6, "s": 1e9}

    def latency(percent):
        value, suffix = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(value) * unit[suffix]

    errors = re.search(r"Socket errors.*|Non-2xx.*", text)
    return {"per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
            "p50_ns": latency(50), "p99_ns": latency(99),
            "errors": errors.group(0) if errors else ""}


def echo(path, kind, connections, seconds):
    return json.loads(output(["taskset", "-c", CLIENT_CORE, path / "bench/echo_client", kind,
                              "10.7.0.2", "7", connections, "64", seconds]))


def inside(args):
    path = BUILD / "release"
    results = {}
    print(f"{'workload':28} {'median/s':>12} {'min':>12} - {'max':<12}{'p50 us':>9} {'p99 us':>9}")
    nginx = start_nginx()
    httpd = start_app(path, "httpd")
    for connections in (1, 64):
        ours, theirs = [], []
        for _ in range(args.repeat):  # in turn: the machine's mood is the same for both
            theirs.append(wrk("10.8.0.2", connections, args.seconds))
            ours.append(wrk("10.7.0.2", connections, args.seconds))
        results[f"http/nginx_veth/{connections}"] = summary(f"nginx, veth, {connections}", theirs)
        results[f"http/apus_tap/{connections}"] = summary(f"httpd, net_tap, {connections}", ours)
        ratio = (results[f"http/apus_tap/{connections}"]["median"] /
                 results[f"http/nginx_veth/{connections}"]["median"])
        results[f"http/ratio/{connections}"] = round(ratio, 3)
        print(f"{'  httpd / nginx':28} {ratio:12.2f}")
    httpd.stop()
    nginx.stop()
    app = start_app(path, "echo")
    for kind in ("tcp", "udp"):
        for connections in (1, 64):
            runs = [echo(path, kind, connections, args.seconds) for _ in range(args.repeat)]
            results[f"echo/{kind}/{connections}"] = summary(
                f"echo, {kind}, 64 B, {connections}", runs)
    app.stop()
    save("tap", results)


def run(args):
    if args.inside:
        inside(args)
        return
    build("release", ["apps/httpd", "apps/echo", "bench/echo_client"])
    bench = str(ROOT / "scripts/bench")
    os.execv(ROOT / "scripts/sandbox", [str(ROOT / "scripts/sandbox"), bench, "tap", "--inside",
                                        "--repeat", str(args.repeat), "--seconds",
                                        str(args.seconds)])
