# SPDX-License-Identifier: BSD-3-Clause
"""bench/workloads.py: what scripts/bench compare runs: its rows, its columns, and their servers.

A row is what the load generator is told. A column is a server and the network it is on; the client
is apps/load in each of them, on a core of its own.
"""

import dataclasses
import pathlib
import subprocess

from bench.common import BUILD, OUT, ROOT, build, machine

APPS = BUILD / 'release/apps'
IDLE = 10000  # open connections that say nothing
COLUMNS = ('apus', 'twin', 'peer')
COLUMN_TEXT = {'apus': 'apus, memif', 'twin': 'apus, kernel sockets', 'peer': 'peer'}


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table. The unit says what is read from a run, and which way is better."""

    name: str
    title: str
    load: tuple  # the load generator's workload and options
    server: str  # ours: a program below build/release/apps, with its options
    peer: str  # a name of PEERS
    port: int
    unit: str = 'requests/s'  # or 'connections/s', 'Gb/s'; 'p50 µs', 'p99 µs': less is better
    half: str = ''  # a row: run at half of what the same server reached there
    settle: int = 0  # seconds of warm-up beside those asked for, until memory is given back

    @property
    def less_is_better(self):
        return self.unit.endswith('µs')


HTTPD = f'httpd --connections {IDLE + 10000}'
ROWS = (
    Row('echo', 'TCP echo, 64 B, 256 connections', ('echo', '--connections', '256'), 'echo',
        'epoll', 7),
    Row('http', 'HTTP keep-alive, 64 connections', ('http', '--connections', '64'), HTTPD,
        'nginx', 80),
    Row('http_pipelined', 'HTTP, 64 connections, 16 requests in a row',
        ('http', '--connections', '64', '--depth', '16'), HTTPD, 'nginx', 80),
    Row('http_new', 'HTTP, connect + request + close, 64 at a time',
        ('http', '--connections', '64', '--new', '--reset'), HTTPD, 'nginx', 80, 'connections/s'),
    Row('http_one', 'HTTP, 1 connection', ('http',), HTTPD, 'nginx', 80, 'p50 µs'),
    Row('http_half', 'HTTP at half of its own rate, 64 connections',
        ('http', '--connections', '64'), HTTPD, 'nginx', 80, 'p99 µs', half='http'),
    Row('http_idle', f'HTTP, 64 connections of {IDLE:,}, the others idle',
        ('http', '--connections', str(IDLE), '--active', '64'), HTTPD, 'nginx', 80, settle=6),
    Row('kv', 'key-value, 90 % get, 100 B, 64 connections', ('memcached', '--connections', '64'),
        'kv', 'memcached', 11211),
    Row('send', 'bulk to the server, 1 connection', ('send',), '../bench/bulk_server', 'epoll', 9,
        'Gb/s'),
    Row('receive', 'bulk from the server, 1 connection', ('receive',), '../bench/bulk_server',
        'epoll', 19, 'Gb/s'),
)


def row_named(name):
    return next(r for r in ROWS if r.name == name)


NGINX_CONF = f"""
daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
worker_rlimit_nofile {IDLE * 2};
events {{ worker_connections {IDLE + 10000}; }}
http {{
    access_log off; keepalive_requests 1000000000; default_type text/plain;
    client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .;
    uwsgi_temp_path .; scgi_temp_path .;
    server {{ listen 80 backlog=4096; location / {{ return 200 "Hello, World!\\n"; }} }}
}}
"""
EPOLL = OUT / 'peers/epoll_server'
NGINX = OUT / 'peers/nginx'  # its folder: a path with a space would end a directive
# What is started, and the folder in which.
PEERS = {
    'epoll': ([EPOLL], ROOT),
    'nginx': (['nginx', '-p', '.', '-c', 'nginx.conf', '-e', 'error.log'], NGINX),
    'memcached': (['memcached', '-t', '1', '-U', '0', '-c', str(IDLE), '-u', 'root',
                   '-l', '127.0.0.1'], ROOT),
}


def version(command):
    got = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         check=False)
    return (got.stdout.strip().splitlines() or ['unknown'])[0]


def prepare():
    """Build all servers and the client. Return: name -> version"""
    build('release', ['apps/load/load', 'apps/echo', 'apps/httpd', 'apps/kv', 'bench/bulk_server'])
    NGINX.mkdir(parents=True, exist_ok=True)
    (NGINX / 'nginx.conf').write_text(NGINX_CONF)
    source = pathlib.Path(ROOT / 'bench/peers/epoll_server.c')
    subprocess.run(['cc', '-O3', '-march=native', '-DNDEBUG', '-o', EPOLL, source], check=True)
    return {'apus': machine()['commit'], 'epoll': version([EPOLL, '--version']),
            'nginx': version(['nginx', '-v']), 'memcached': version(['memcached', '-V'])}
