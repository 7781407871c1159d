# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live_httpd.py: the HTTP server and the clients people use: curl, http.client, wrk."""

import contextlib
import email.utils
import hashlib
import http.client
import json
import pathlib
import re
import signal
import socket
import struct
import tempfile
import threading
import time

import live
from live import ADDR, App, LiveTest, connect, noise, receive

PORT = 80


def httpd(*args):
    return App('httpd', '--port', str(PORT), *args)


def get(path='/', method='GET', headers=None, body=None):
    """(status, headers, body) by Python's client, on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection(ADDR, PORT, timeout=10)) as client:
        client.request(method, path, headers=headers or {}, body=body)
        answer = client.getresponse()
        return answer.status, answer.headers, answer.read()


def stat(name):
    return json.loads(get('/stats')[2])[name]


def raw(data, seconds=10):
    """All that is answered to these bytes, until the server closes; '' of a reset."""
    with connect(PORT, timeout=seconds) as sock:
        sock.sendall(data)
        got = b''
        with contextlib.suppress(ConnectionResetError):
            while part := sock.recv(65536):
                got += part
        return got


def status_of(answer):
    match = re.match(rb'HTTP/1\.1 (\d{3}) ', answer)
    return int(match[1]) if match else answer


def read_answer(reader):
    """One response with Content-Length from a buffered reader: (status, body)."""
    status = int(reader.readline().split()[1])
    length = 0
    while (line := reader.readline().strip()):
        if line.lower().startswith(b'content-length:'):
            length = int(line.split(b':')[1])
    return status, reader.read(length)


class Pages(LiveTest):
    def test_root_is_plain_text_with_length_and_date(self):
        with httpd() as app:
            status, headers, body = get('/')
            self.assertEqual(status, 200)
            self.assertTrue(body)
            self.assertEqual(int(headers['Content-Length']), len(body))
            self.assertIn('text/plain', headers['Content-Type'])
            date = email.utils.parsedate_to_datetime(headers['Date'])
            self.assertLess(abs(date.timestamp() - time.time()), 3)
            self.assertEqual(app.stop(), 0)

    def test_curl_gets_it(self):
        with httpd() as app:
            said = live.command('curl', '-sS', '--noproxy', '*',
                                '-w', '%{http_code} %{http_version}', f'http://{ADDR}/')
            self.assertTrue(said.endswith('200 1.1'), said)
            self.assertEqual(app.stop(), 0)

    def test_json_is_json(self):
        with httpd() as app:
            status, headers, body = get('/json')
            self.assertEqual(status, 200)
            self.assertIn('application/json', headers['Content-Type'])
            self.assertIsInstance(json.loads(body), dict)
            self.assertEqual(app.stop(), 0)

    def test_stats_are_json_and_count(self):
        def numbers(value):
            if isinstance(value, dict):
                return [n for v in value.values() for n in numbers(v)]
            return [value] if isinstance(value, int) else []

        with httpd() as app:
            first = json.loads(get('/stats')[2])
            get('/')
            second = json.loads(get('/stats')[2])
            self.assertGreater(len(numbers(first)), 10)
            self.assertGreater(sum(numbers(second)), sum(numbers(first)))
            self.assertEqual(app.stop(), 0)

    def test_head_has_the_headers_and_no_body(self):
        with httpd() as app:
            _, want, body = get('/')
            status, headers, none = get('/', 'HEAD')
            self.assertEqual((status, none), (200, b''))
            self.assertEqual(headers['Content-Length'], want['Content-Length'])
            answer = raw(b'HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
            self.assertTrue(answer.endswith(b'\r\n\r\n'), answer)
            self.assertNotIn(body, answer)
            self.assertEqual(app.stop(), 0)

    def test_unknown_page_is_404(self):
        with httpd() as app:
            self.assertEqual(get('/no/such/page')[0], 404)
            self.assertEqual(app.stop(), 0)

    def test_other_methods_are_405_and_say_what_is_allowed(self):
        with httpd() as app:
            for method in ('POST', 'PUT', 'DELETE'):
                status, headers, _ = get('/', method)
                self.assertEqual(status, 405, method)
                self.assertIn('GET', headers['Allow'])
            self.assertEqual(app.stop(), 0)


class Connections(LiveTest):
    def test_kept_alive_one_connection_serves_1000_requests(self):
        with httpd() as app, \
                contextlib.closing(http.client.HTTPConnection(ADDR, PORT, timeout=10)) as client:
            client.connect()
            sock = client.sock
            for _ in range(1000):
                client.request('GET', '/')
                answer = client.getresponse()
                self.assertEqual(answer.status, 200)
                answer.read()
                self.assertIs(client.sock, sock, 'the connection was not kept')
            client.close()
            self.assertEqual(app.stop(), 0)

    def test_connection_close_is_obeyed(self):
        with httpd() as app:
            for head in (b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
                         b'GET / HTTP/1.0\r\n\r\n'):
                self.assertEqual(status_of(raw(head)), 200)  # raw() ends only when it is closed
            self.assertEqual(app.stop(), 0)

    def test_pipelined_requests_are_answered_in_order(self):
        paths = [b'/', b'/json', b'/nowhere'] * 20
        with httpd() as app, connect(PORT) as sock, sock.makefile('rb') as reader:
            alone = {}
            for path in paths[:3]:
                sock.sendall(b'GET %s HTTP/1.1\r\nHost: x\r\n\r\n' % path)
                alone[path] = read_answer(reader)
            sock.sendall(b''.join(b'GET %s HTTP/1.1\r\nHost: x\r\n\r\n' % p for p in paths))
            for path in paths:
                self.assertEqual(read_answer(reader), alone[path])
            sock.close()
            self.assertEqual(app.stop(), 0)

    def test_request_byte_by_byte_is_understood(self):
        with httpd() as app, connect(PORT) as sock, sock.makefile('rb') as reader:
            for byte in b'GET /json HTTP/1.1\r\nHost: x\r\n\r\n':
                sock.sendall(bytes([byte]))
                time.sleep(0.002)
            self.assertEqual(read_answer(reader)[0], 200)
            sock.close()
            self.assertEqual(app.stop(), 0)

    def test_300_open_connections_are_all_served(self):
        with httpd() as app, contextlib.ExitStack() as stack:
            socks = [stack.enter_context(connect(PORT)) for _ in range(300)]
            for _ in range(2):
                for sock in socks:
                    sock.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
                for sock in socks:
                    self.assertEqual(status_of(sock.recv(65536)), 200)
            stack.close()
            self.assertEqual(app.stop(), 0)

    def test_idle_connections_hold_no_task_and_come_back(self):
        with httpd() as app, contextlib.ExitStack() as stack:
            socks = [stack.enter_context(connect(PORT)) for _ in range(300)]
            for _ in range(2):
                for sock in socks:
                    sock.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
                for sock in socks:
                    self.assertEqual(status_of(sock.recv(65536)), 200)
                live.wait_until(lambda: stat('server.parked') >= 300, 8, 'all are parked')
            self.assertGreaterEqual(stat('server.resumed'), 300)
            app.kill(signal.SIGTERM)
            for sock in socks:
                sock.settimeout(5)
                self.assertEqual(sock.recv(100), b'', 'no FIN')
            stack.close()
            self.assertEqual(app.end(), 0)

    def test_wrk_has_no_errors(self):
        with httpd() as app:
            said = live.command('wrk', '-t1', '-c64', '-d2s', f'http://{ADDR}:{PORT}/')
            self.assertNotIn('Socket errors', said)
            self.assertNotIn('Non-2xx', said)
            self.assertGreater(float(re.search(r'Requests/sec: +([\d.]+)', said)[1]), 100)
            self.assertEqual(app.stop(), 0)


class Wrong(LiveTest):
    """What is not HTTP, or too much of it: an answer with the right number, then the end."""

    def refused(self, status, data):
        with httpd() as app:
            self.assertEqual(status_of(raw(data)), status)
            self.assertEqual(get('/')[0], 200)  # still there for others
            self.assertEqual(app.stop(), 0)

    def test_noise_is_400(self):
        self.refused(400, b'\x16\x03\x01 no http at all\r\n\r\n')

    def test_missing_host_is_400(self):
        self.refused(400, b'GET / HTTP/1.1\r\n\r\n')

    def test_both_lengths_are_400(self):
        self.refused(400, b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n'
                          b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n')

    def test_endless_header_is_431(self):
        self.refused(431, b'GET / HTTP/1.1\r\nHost: x\r\nA: ' + b'a' * 200000 + b'\r\n\r\n')

    def test_endless_number_of_headers_is_431(self):
        self.refused(431, b'GET / HTTP/1.1\r\nHost: x\r\n' + b'A: b\r\n' * 5000 + b'\r\n')

    def test_huge_body_is_413(self):
        self.refused(413, b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n')

    def test_http_2_is_505(self):
        self.refused(505, b'GET / HTTP/2.0\r\nHost: x\r\n\r\n')

    def test_client_that_goes_amid_an_answer_does_no_harm(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, 'big').write_bytes(noise(5 << 20))
            with httpd('--root', folder) as app:
                for i in range(20):
                    sock = connect(PORT)
                    sock.sendall(b'GET /big HTTP/1.1\r\nHost: x\r\n\r\n')
                    sock.recv(1000 * i + 1)
                    if i % 2:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                        struct.pack('ii', 1, 0))
                    sock.close()
                self.assertEqual(get('/')[0], 200)
                self.assertEqual(app.stop(), 0)

    def test_client_that_resets_while_its_request_is_at_work_does_no_harm(self):
        with tempfile.TemporaryDirectory() as folder, httpd('--root', folder) as app:
            for i in range(200):
                sock = connect(PORT)
                sock.sendall(b'GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n')
                time.sleep(i % 20 * 20e-6)  # a thread looks for the file
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                sock.close()
            self.assertEqual(get('/nothing')[0], 404)
            self.assertEqual(app.stop(), 0)


class Files(LiveTest):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.root = pathlib.Path(folder, 'a root with spaces')
        (self.root / 'deep/er').mkdir(parents=True)
        pathlib.Path(folder, 'secret').write_text('not for you')
        (self.root / 'secret-link').symlink_to(pathlib.Path(folder, 'secret'))
        self.big = noise(20 << 20)
        (self.root / 'big.bin').write_bytes(self.big)
        (self.root / 'empty').write_bytes(b'')
        (self.root / 'deep/er/page.html').write_text('<p>page</p>')
        (self.root / 'with space.txt').write_text('space')

    def test_big_file_is_the_same_by_its_sum(self):
        with httpd('--root', str(self.root)) as app:
            with tempfile.NamedTemporaryFile() as out:
                live.command('curl', '-sS', '--noproxy', '*', '-o', out.name,
                             f'http://{ADDR}/big.bin', timeout=60)
                got = pathlib.Path(out.name).read_bytes()
            self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(self.big).digest())
            status, headers, body = get('/big.bin', 'HEAD')
            self.assertEqual((status, body), (200, b''))
            self.assertEqual(int(headers['Content-Length']), len(self.big))
            self.assertEqual(app.stop(), 0)

    def test_small_files_are_found(self):
        with httpd('--root', str(self.root)) as app:
            status, headers, body = get('/deep/er/page.html')
            self.assertEqual((status, body), (200, b'<p>page</p>'))
            self.assertIn('text/html', headers['Content-Type'])
            self.assertEqual(get('/empty')[::2], (200, b''))
            self.assertEqual(get('/with%20space.txt')[::2], (200, b'space'))
            self.assertEqual(get('/deep/nothing')[0], 404)
            self.assertIn(get('/deep')[0], (301, 302, 308, 403, 404))
            self.assertEqual(app.stop(), 0)

    def test_eight_clients_get_the_big_file_at_once(self):
        with httpd('--root', str(self.root)) as app:
            good = []

            def fetch():
                good.append(get('/big.bin')[2] == self.big)

            threads = [threading.Thread(target=fetch) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            self.assertEqual(good, [True] * 8)
            self.assertEqual(app.stop(), 0)

    def test_nothing_above_the_root_is_served(self):
        ways = (b'/../secret', b'/deep/../../secret', b'/%2e%2e/secret', b'/%2E%2E%2Fsecret',
                b'/deep/..%2f..%2fsecret', b'//../secret', b'/./../secret', b'/..\\secret',
                b'/secret-link', b'/big.bin%00', b'http://x/../secret')
        with httpd('--root', str(self.root)) as app:
            for way in ways:
                answer = raw(b'GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' % way)
                self.assertIn(status_of(answer), (400, 403, 404), way)
                self.assertNotIn(b'not for you', answer, way)
            self.assertEqual(app.stop(), 0)


class Stop(LiveTest):
    def test_signal_says_fin_to_idle_clients_and_exits_0(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with httpd() as app, connect(PORT) as fresh, connect(PORT) as kept:
                kept.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
                self.assertEqual(status_of(kept.recv(65536)), 200)
                app.kill(number)
                for sock in (fresh, kept):
                    sock.settimeout(5)
                    self.assertEqual(sock.recv(100), b'', 'no FIN')
                    sock.close()
                self.assertEqual(app.end(), 0)

    def test_request_without_end_does_not_hold_it_up(self):
        with httpd() as app, connect(PORT) as sock:
            sock.sendall(b'GET / HTTP/1.1\r\nHo')
            self.assertEqual(app.stop(), 0)


if __name__ == '__main__':
    live.main(__doc__)
