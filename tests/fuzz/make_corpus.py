#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""tests/fuzz/make_corpus.py: write the corpora of all targets but fuzz_segment and fuzz_http.

One small file for each kind of packet worth knowing. The files are checked in; run this after a
change to what it makes. The formats of the records are at the top of the targets.
Existing files of other names (findings) are left alone.
"""
import argparse
import pathlib
import struct

US, PEER, ALL, FAR = (bytes(a) for a in (
    (10, 7, 0, 2), (10, 7, 0, 1), (10, 7, 0, 255), (192, 0, 2, 1)))
MARTIANS = (bytes(a) for a in (
    (0, 0, 0, 0), (127, 0, 0, 1), (224, 0, 0, 1), (240, 0, 0, 1), (255, 255, 255, 255),
    (10, 7, 0, 255)))
MAC_US, MAC_PEER, MAC_ALL = b'\2\0\0\0\0\2', b'\2\0\0\0\0\1', b'\xff' * 6
ETHERNET, MEND, SECOND, TRUSTED = 1, 2, 0x20, 0x40


def cut(choice):
    return choice << 2


def record(packet, flags=MEND):
    return bytes([flags]) + struct.pack('<H', len(packet)) + packet


def ipv4(proto, payload, src=PEER, dst=US, options=b'', total=None, **fields):
    ihl = fields.get('ihl', 5 + len(options) // 4)
    total = 20 + len(options) + len(payload) if total is None else total
    header = struct.pack('>BBHHHBBH4s4s', fields.get('version', 4) << 4 | ihl, 0, total, 0,
                         fields.get('fragment', 0x4000), 64, proto, 0, src, dst)
    return header + options + payload


def records(packets, flags=MEND):
    return b''.join(record(packet, flags) for packet in packets)


def icmp(kind, code, rest, data=b''):
    return struct.pack('>BBH4s', kind, code, 0, rest) + data


def udp(port, data, source=5353, length=None):
    length = 8 + len(data) if length is None else length
    return struct.pack('>HHHH', source, port, length, 0) + data


def tcp(flags, seq=1, ack=0, port=80, options=b'', data=b'', offset=None):
    offset = 5 + len(options) // 4 if offset is None else offset
    header = struct.pack('>HHIIBBHHH', 40000, port, seq, ack, offset << 4, flags, 65535, 0, 0)
    return header + options + data


def ethernet(payload, ethertype=0x0800, dst=MAC_US, src=MAC_PEER, tag=b''):
    return dst + src + tag + struct.pack('>H', ethertype) + payload


def arp(op=1, sha=MAC_PEER, spa=PEER, tpa=US, head=(1, 0x0800, 6, 4)):
    return struct.pack('>HHBBH6s4s6s4s', *head, op, sha, spa, b'\0' * 6, tpa)


def error(kind, code, inner, mtu=0):
    return ipv4(1, icmp(kind, code, struct.pack('>HH', 0, mtu), inner))


PING = ipv4(1, icmp(8, 0, b'\0\1\0\1', b'ping'))
# Our neighbour is known after this, so that answers leave.
MEET = record(ethernet(arp(), 0x0806, MAC_ALL), ETHERNET)


def ipv4_corpus():
    ours = ipv4(17, udp(5353, b'lost', source=8), src=US, dst=PEER)
    ours_tcp = ipv4(6, tcp(0x10, port=9999)[:8], src=US, dst=FAR)
    syn = tcp(2, options=b'\2\4\5\xb4\4\2\x08\x0a\0\0\0\1\0\0\0\0\1\3\3\7')
    yield 'ping', MEET + record(PING)
    yield 'ping-padded', MEET + record(PING + b'\0' * 14)
    yield 'ping-segments', MEET + record(PING, MEND | cut(1)) + record(PING, MEND | cut(2))
    yield 'ping-large', MEET + record(ipv4(1, icmp(8, 0, b'\0\1\0\1', b'x' * 1400)), MEND | cut(7))
    yield 'ping-broadcast', record(ipv4(1, icmp(8, 0, b'\0\1\0\1'), dst=ALL))
    yield 'ping-options', (
        MEET
        + record(ipv4(1, icmp(8, 0, b'\0\1\0\1'), options=b'\x94\4\0\0\1\1\1\0')))
    yield 'ping-bad-sum', record(PING, 0) + record(PING, TRUSTED)
    yield 'option-length-0', record(ipv4(1, icmp(8, 0, b'\0\1\0\1'), options=b'\xc8\0\0\0'))
    yield 'option-last-byte', record(ipv4(1, icmp(8, 0, b'\0\1\0\1'), options=b'\1\1\1\xc8'))
    yield 'option-at-the-end', record(ipv4(253, b'', options=b'\1\1\1\xc8'))
    yield 'source-route', record(ipv4(1, icmp(8, 0, b'\0\1\0\1'), options=b'\x83\7\4\x0a\7\0\1\0'))
    yield 'ihl-4', record(ipv4(1, b'\x08' * 12, ihl=4))
    yield 'ihl-15', record(ipv4(1, b'\x08' * 12, ihl=15))
    yield 'version-6', record(ipv4(1, b'\x08' * 12, version=6))
    yield 'total-short', record(ipv4(1, b'\x08' * 12, total=19))
    yield 'total-long', record(ipv4(1, b'\x08' * 12, total=65535))
    yield 'land', record(ipv4(6, syn, src=US))
    yield 'martians', records(ipv4(17, udp(7, b'x'), src=a) for a in MARTIANS)
    yield 'fragments', (
        records(ipv4(17, udp(7, b'x' * 16), fragment=f) for f in (0x2000, 0x2002, 3, 0x1fff)))
    yield 'unknown-protocol', (
        MEET
        + record(ipv4(253, b'hello'))
        + record(ipv4(253, b'x' * 900), MEND | cut(6)))
    yield 'udp', record(ipv4(17, udp(7, b'hello'))) + record(ipv4(17, udp(8, b'hello')))
    yield 'udp-empty', record(ipv4(17, udp(7, b'')))
    yield 'udp-trailing', record(ipv4(17, udp(7, b'hello', length=9)), MEND | cut(2))
    yield 'udp-lengths', records(ipv4(17, udp(7, b'hello', length=n)) for n in (0, 7, 14, 65535))
    yield 'udp-short', record(ipv4(17, udp(7, b'')[:5]))
    yield 'udp-no-checksum', record(ipv4(17, udp(7, b'hello')), TRUSTED)
    yield 'udp-no-socket', (
        MEET
        + record(ipv4(17, udp(9, b'hello')))
        + record(ipv4(17, udp(0, b'hello'))))
    yield 'udp-broadcast', record(ipv4(17, udp(7, b'hello'), dst=ALL))
    yield 'icmp-types', records(ipv4(1, icmp(t, 0, b'\0' * 4, b'x' * 28)) for t in range(0, 20))
    yield 'icmp-short', records(ipv4(1, (b'\x08' + b'\0' * 7)[:n]) for n in range(8))
    yield 'error-udp', record(error(3, 3, ours[:28]))
    yield 'error-tcp', record(error(3, 1, ours_tcp)) + record(error(11, 0, ours_tcp))
    yield 'error-too-big', records(error(3, 4, ours_tcp, mtu) for mtu in (0, 68, 1400, 65535))
    yield 'error-truncated', records(error(3, 3, ours[:n]) for n in (0, 1, 19, 20, 27))
    yield 'error-inner-ihl', (
        record(error(3, 3, b'\x4f' + ours[1:28]))
        + record(error(3, 3, b'\x41' + ours[1:28])))
    yield 'error-about-error', record(error(3, 3, ipv4(1, icmp(3, 3, b'\0' * 4), src=US, dst=PEER)))
    yield 'tcp-syn', MEET + record(ipv4(6, syn), MEND | SECOND) + record(ipv4(6, tcp(0x10, 2, 1)))
    yield 'tcp-closed-port', (
        MEET
        + record(ipv4(6, tcp(2, port=81)))
        + record(ipv4(6, tcp(0x10, port=81))))
    yield 'tcp-flags', MEET + records(ipv4(6, tcp(f)) for f in (0, 1, 3, 4, 6, 0x29, 0x3f))
    yield 'tcp-short', records(ipv4(6, tcp(2)[:n]) for n in (0, 1, 13, 19))
    yield 'tcp-offset', record(ipv4(6, tcp(2, offset=4))) + record(ipv4(6, tcp(2, offset=15)))
    yield 'tcp-broadcast', record(ipv4(6, tcp(2), dst=ALL))
    yield 'eth-short', records((ethernet(b'')[:n] for n in range(14)), ETHERNET)
    yield 'eth-tagged', (
        record(ethernet(PING, tag=b'\x81\0\xa0\0'), ETHERNET | MEND)
        + record(ethernet(PING, tag=b'\x81\0\0\7'), ETHERNET)
        + record(ethernet(b'', tag=b'\x81\0\0'), ETHERNET))
    yield 'eth-types', records((ethernet(PING, t) for t in (0x86dd, 0x88cc, 1500, 0)), ETHERNET)
    yield 'eth-not-ours', (
        record(ethernet(PING, dst=b'\2\0\0\0\0\x09'), ETHERNET)
        + record(ethernet(PING, dst=MAC_ALL), ETHERNET | MEND)
        + record(ethernet(PING, src=MAC_ALL), ETHERNET))
    yield 'gateway', record(ipv4(1, icmp(8, 0, b'\0\1\0\1'), src=FAR), MEND | SECOND)


def raw(packet):
    return b'\0' + packet.ljust(28, b'\0')


def chosen(kind, station, sender, target):
    return bytes([1, kind, station, sender, target])


def send(host):
    return bytes([2, host])


def wait(quarters):
    return bytes([3, quarters])


def arp_corpus():
    yield 'request', raw(arp())
    yield 'reply-unsolicited', raw(arp(op=2))
    yield 'truncated', b'\0' + arp()[:20]
    yield 'formats', b''.join(raw(arp(head=h)) for h in (
        (6, 0x0800, 6, 4), (1, 0x86dd, 6, 4), (1, 0x0800, 8, 4), (1, 0x0800, 6, 16)))
    yield 'operations', b''.join(raw(arp(op=o)) for o in (0, 3, 4, 65535))
    yield 'senders', (
        b''.join(raw(arp(sha=s)) for s in (MAC_ALL, b'\0' * 6, MAC_US, b'\1\0\x5e\0\0\1')))
    yield 'probe', raw(arp(spa=b'\0' * 4))
    yield 'conflict', (
        raw(arp(spa=US))
        + wait(4)
        + raw(arp(spa=US, op=2))
        + wait(44)
        + raw(arp(spa=US)))
    yield 'off-prefix', raw(arp(spa=FAR)) + raw(arp(spa=ALL))
    yield 'resolve', send(1) + chosen(1, 1, 1, 1)
    yield 'resolve-late', send(1) + wait(5) + send(1) + chosen(1, 1, 1, 1) + send(1)
    yield 'unanswered', send(9) + wait(4) + send(9) + wait(9) + send(9) + wait(13) + send(9)
    yield 'waiting-full', b''.join(send(5) for _ in range(12)) + chosen(1, 1, 5, 1)
    yield 'moved', chosen(0, 1, 1, 1) + wait(8) + chosen(0, 2, 1, 1) + chosen(0, 3, 1, 1) + send(1)
    yield 'gratuitous', chosen(0, 1, 1, 1) + chosen(0, 1, 1, 4)
    yield 'stale', chosen(0, 1, 1, 1) + send(1) + wait(241) + chosen(1, 1, 1, 1) + wait(250)
    yield 'expired', chosen(0, 1, 1, 1) + send(1) + wait(255) + send(1) + wait(20)
    yield 'many', b''.join(send(h) for h in range(3, 120))
    yield 'broadcast', send(255) + send(0) + send(2)


FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
PASSIVE, ACTIVE, TS, SACK, SMALL, WRAP = 0, 1, 2, 4, 8, 16


def segment(flags, seq=b'\0', ack=b'\0', eighths=0, window=65535, options=0, blocks=()):
    """Places: b'\\0' the right one; 3 | n << 3: n beyond; 4 | n << 3: n before."""
    return (bytes([0, flags]) + seq + ack + (b'' if flags & SYN else bytes([eighths]))
            + struct.pack('>H', window) + bytes([options | len(blocks) << 2])
            + b''.join(struct.pack('>HH', *block) for block in blocks))


def beyond(count):
    return b'\5' + struct.pack('>H', count)


def passed(exponent):
    return bytes([4, exponent])


def write(count):
    return bytes([5, count])


def read(count):
    return bytes([6, count])


def other(what):
    return bytes([7, what])


OPEN = segment(SYN, b'\6\0\0') + segment(ACK)
SHUTDOWN, CLOSE, ABORT = 0, 1, 2


def connection_corpus():
    data = segment(ACK | PSH, eighths=60)
    for name, settings in (('plain', PASSIVE), ('all', TS | SACK), ('wrap', TS | SACK | WRAP),
                           ('small', SACK | SMALL)):
        start = bytes([settings]) + OPEN
        holes = b''.join(segment(ACK, beyond(n * 960), eighths=60) for n in (1, 3, 5, 4))
        acks = b''.join(segment(ACK, blocks=[(2000 + n * 1460, 1460)]) for n in range(4))
        yield 'echo-' + name, start + (data + read(9) + write(9) + segment(ACK)) * 3 + other(CLOSE)
        yield 'close-' + name, start + other(SHUTDOWN) + segment(FIN | ACK) + read(1) + passed(15)
        yield 'closed-' + name, start + segment(FIN | ACK) + write(3) + other(CLOSE) + segment(ACK)
        yield 'holes-' + name, start + holes + data + read(200) + segment(FIN | ACK) + data
        yield 'sacks-' + name, start + write(255) + acks + passed(8) + acks + passed(10) + write(9)
        yield 'silence-' + name, start + write(20) + passed(12) * 6 + segment(ACK)
        yield 'window-' + name, (start + segment(ACK, window=0) + write(99) + passed(12) * 3
                                 + segment(ACK, window=1) + segment(ACK, window=500) + passed(13))
        yield 'reset-' + name, start + data + segment(RST, b'\x0b') + segment(RST) + data
        yield 'attack-' + name, (start + segment(SYN) + segment(ACK, ack=b'\x7b')
                                 + segment(ACK, ack=b'\7\x80\0') + segment(0) + segment(255))
    yield 'connect', (bytes([ACTIVE | TS | SACK]) + passed(11) + segment(SYN | ACK, b'\6\0\0')
                      + write(50) + segment(ACK) + other(CLOSE) + segment(FIN | ACK))
    yield 'simultaneous', bytes([ACTIVE]) + segment(SYN, b'\6\0\0') + segment(ACK) + write(1)
    yield 'refused', bytes([ACTIVE]) + segment(RST | ACK)


def about(kind, code, mtu=0, beside=0, quoted=28, wrong=0):
    return struct.pack('>BBBHhBB', 0, kind, code, mtu, beside, quoted, wrong)


def icmp_corpus():
    for name, settings in (('plain', b'\0'), ('ts', b'\1')):
        sizes = (0, 67, 68, 576, 1000, 1400, 1499, 1500, 65535)
        yield 'sizes-' + name, settings + b''.join(about(3, 4, n) for n in sizes)
        yield 'down-' + name, settings + b''.join(
            about(3, 4, n) + b'\3\5\4\x20' for n in range(1450, 560, -50))
        yield 'up-again-' + name, settings + about(3, 4, 1000) + b'\3\xff\2\x14\4\xff'
        yield 'unreachable-' + name, settings + b''.join(
            about(kind, code) for kind in (3, 4, 5, 11, 12) for code in (0, 1, 2, 3, 5, 13))
        yield 'beside-' + name, settings + b''.join(
            about(3, 4, 1000, n) for n in (-32768, -1, 375, 376, 32767))
        yield 'wrong-' + name, settings + b''.join(
            about(3, 4, 1000, wrong=1 << n) for n in range(8))
        yield 'short-' + name, settings + b''.join(
            about(3, 4, 1000, quoted=n) for n in (0, 1, 19, 20, 27, 28, 40))
        yield 'hole-' + name, settings + b'\2\x0c' * 6 + b'\3\xff' + b'\4\xff\2\x14\4\xff'
        yield 'any-' + name, settings + b'\1\x08' + b'\3\4' + b'\0' * 6 + b'\1\0\1\4abcd'


def cookie_corpus():
    mapped = bytes(10) + b'\xff\xff\x0a\0\0'
    key = bytes(range(16)) + mapped + b'\1' + mapped + b'\2'
    for mss in (0, 47, 536, 1460, 65535):
        for passed in (0, 59, 60, 119, 120, 255):
            yield f'mss-{mss}-after-{passed}', (
                key + struct.pack('<HHIHBBBIBB', 80, 4000, 7, mss, 3, 5, passed, 99, mss % 64,
                                  passed))


def reassembly_corpus():
    def text(at, count, flags=0):  # from 256 before RCV.NXT on
        return bytes([at >> 8, at & 255, count & 255, count >> 8 | flags])

    yield 'in-order', text(256, 1000, 0x20) * 7
    yield 'descending', b''.join(text(256 + at, 100) for at in range(3000, -1, -100))
    yield 'single-bytes', b''.join(text(257 + 2 * n, 1) for n in range(200)) + text(256, 500)
    yield 'joined', b''.join(text(257 + n * 7919 % 400, 1, 0x18) for n in range(400)) + text(256, 1)
    yield 'overlaps', b''.join(text(200 + n * 37 % 900, 1 + n * 53 % 700, n % 4 << 3)
                               for n in range(120))
    yield 'forgotten', (text(700, 300) + text(1500, 600)) + text(900, 10, 0x40) + text(256, 2000)
    yield 'duplicates', (text(700, 300) * 3 + text(256, 444) + text(0, 300)) * 3


def options_corpus():
    syn = bytes.fromhex('020405b4 0402 080a0102030405060708 01 030307')
    sack = bytes.fromhex('0101 080a0102030405060708 0101 051a') + bytes(range(24))
    for name, flags, options in (
            ('syn', 2, syn), ('not-a-syn', 16, syn), ('timestamps', 16, sack[:12]),
            ('three-blocks', 16, sack), ('four-blocks', 16, b'\1\1\5\x22' + bytes(range(32))),
            ('wrong-lengths', 2, bytes.fromhex('0203ff 030400ff 040300 0804ffff 0503ff')),
            ('blocks-of-no-number', 16, b'\5\2\5\x0c' + b'x' * 10),
            ('length-0', 2, b'\2\0' + syn), ('length-beyond', 2, syn[:4] + b'\x08\x28'),
            ('kind-last', 2, syn[:19] + b'\x08'), ('end-early', 2, b'\0' + syn),
            ('twice', 2, syn[:4] + b'\2\4\0\1' + b'\3\3\x0f\3\3\1'),
            ('unknown', 2, bytes.fromhex('fe04f989 13120102 0000') + syn), ('full', 2, b'\1' * 40)):
        yield name, bytes([flags, 41]) + options
        yield name + '-cut', bytes([flags, 25]) + options


def scoreboard_corpus():
    send, ack, sack, one, lose, again, lose_all, keep, forget, cut = 0, 3, 4, 6, 7, 8, 9, 10, 11, 12

    def does(*steps):
        return b''.join(bytes(step + (5,)) for step in steps)

    window = does(*[(send, 63, 0)] * 30)
    yield 'window', window + does((ack, 200, 0), (ack, 255, 0)) * 8
    yield 'sacked', window + does((sack, 20, 40), (sack, 20, 80), (ack, 10, 0), (sack, 4, 254))
    yield 'ragged', window + does(*[(sack, n * 7 % 250, n * 5 % 255) for n in range(60)])
    yield 'lost', window + does(*[(one, 8 * n + 8, n) for n in range(12)],
                                *[(lose, 8 * (n * 5 % 12), 0) for n in range(12)],
                                *[(again, 0, 0)] * 6, (ack, 100, 0),
                                *[(one, n, 0) for n in range(9)])
    yield 'undone', window + does((lose_all, 0, 0), *[(again, 0, 0)] * 9, (lose, 8, 0),
                                  (keep, 0, 0), (ack, 255, 0), (16 * 3 + ack, 255, 0),
                                  (ack, 255, 0))
    yield 'reneged', window + does((sack, 20, 200), (forget, 0, 0), (again, 0, 0), (lose, 0, 0),
                                   (sack, 20, 200), (lose_all, 0, 0), (sack, 0, 250))
    yield 'cut', window + does((sack, 20, 40), (lose, 8, 0), (lose, 0, 0), (cut, 19, 0),
                               (again, 0, 0), (cut, 6, 0), (ack, 99, 0), (sack, 0, 99),
                               (keep, 0, 0), (cut, 0, 0))
    yield 'backwards', window + does((sack, 10, 255), (sack, 255, 255), (sack, 0, 2), (sack, 3, 3))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    here = pathlib.Path(__file__).parent / 'corpus'
    for folder, corpus in (('ipv4', ipv4_corpus()), ('arp', arp_corpus()),
                           ('connection', connection_corpus()), ('icmp', icmp_corpus()),
                           ('cookie', cookie_corpus()), ('options', options_corpus()),
                           ('reassembly', reassembly_corpus()),
                           ('scoreboard', scoreboard_corpus())):
        (here / folder).mkdir(parents=True, exist_ok=True)
        for name, data in corpus:
            (here / folder / name).write_bytes(data)


if __name__ == '__main__':
    main()
