#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
#
# bench/peers/python_asyncio.py: Python's asyncio, with its own loop or uvloop's.
#
# The first argument is asyncio or uvloop; the others are as bench/peers/peer.h says.

import asyncio
import contextvars
import platform
import random
import sys
import time


def now():
    return time.perf_counter_ns()


async def nothing():
    pass


async def task_yield(n):
    async def body():
        for _ in range(n // 2):
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(body()) for _ in range(2)]
    await asyncio.sleep(0)
    begin = now()
    for t in tasks:
        await t
    return now() - begin


async def spawn_await(n):
    begin = now()
    for _ in range(n):
        await asyncio.create_task(nothing())
    return now() - begin


async def queue_ping_pong(n):
    there, back = asyncio.Queue(1), asyncio.Queue(1)

    async def body():
        for _ in range(n // 2):
            await back.put(await there.get())

    t = asyncio.create_task(body())
    begin = now()
    for i in range(n // 2):
        await there.put(i)
        await back.get()
    elapsed = now() - begin
    await t
    return elapsed


async def queue_one_way(n):
    there = asyncio.Queue(128)

    async def body():
        for _ in range(n):
            await there.get()

    t = asyncio.create_task(body())
    begin = now()
    for i in range(n):
        await there.put(i)
    await t
    return now() - begin


async def lock_uncontended(n):
    lock = asyncio.Lock()
    begin = now()
    for _ in range(n):
        await lock.acquire()
        lock.release()
    return now() - begin


async def lock_contended(n):
    lock = asyncio.Lock()

    async def body():
        for _ in range(n // 4):
            await lock.acquire()
            await asyncio.sleep(0)
            lock.release()

    tasks = [asyncio.create_task(body()) for _ in range(4)]
    begin = now()
    for t in tasks:
        await t
    return now() - begin


async def semaphore_uncontended(n):
    semaphore = asyncio.Semaphore(2)
    begin = now()
    for _ in range(n):
        await semaphore.acquire()
        semaphore.release()
    return now() - begin


async def event_set_wait(n):
    ping, pong = asyncio.Event(), asyncio.Event()

    async def body():
        for _ in range(n // 2):
            await ping.wait()
            ping.clear()
            pong.set()

    t = asyncio.create_task(body())
    begin = now()
    for _ in range(n // 2):
        ping.set()
        await pong.wait()
        pong.clear()
    elapsed = now() - begin
    await t
    return elapsed


async def future_await(n):
    loop = asyncio.get_running_loop()
    futures = [loop.create_future(), None]

    async def body():
        for _ in range(n // 2):
            await futures[0]
            futures[0] = loop.create_future()
            futures[1].set_result(1)

    t = asyncio.create_task(body())
    begin = now()
    for _ in range(n // 2):
        futures[1] = loop.create_future()
        futures[0].set_result(1)
        await futures[1]
    elapsed = now() - begin
    await t
    return elapsed


async def group_spawn(n):
    begin = now()
    for _ in range(n // 10):
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(nothing())
    return now() - begin


async def gather(n):
    begin = now()
    for _ in range(n // 10):
        await asyncio.gather(*[asyncio.create_task(nothing()) for _ in range(10)])
    return now() - begin


async def timeout_begin_end(n):
    begin = now()
    for _ in range(n):
        async with asyncio.timeout(5):
            pass
    return now() - begin


async def select_two(n):
    there, stop = asyncio.Queue(1), asyncio.Event()

    async def body():
        for i in range(n):
            await there.put(i)

    t = asyncio.create_task(body())
    stopped = asyncio.create_task(stop.wait())
    begin = now()
    for _ in range(n):
        got = asyncio.create_task(there.get())
        await asyncio.wait((got, stopped), return_when=asyncio.FIRST_COMPLETED)
        got.result()
    elapsed = now() - begin
    stopped.cancel()
    await t
    return elapsed


async def generator_next(n):
    async def count_up():
        for i in range(n):
            yield i

    begin = now()
    async for _ in count_up():
        pass
    return now() - begin


async def context_var_get(n):
    names = [contextvars.ContextVar(x) for x in "abcd"]
    for var in names:
        var.set(var)
    begin = now()
    for i in range(n):
        names[i % 4].get()
    return now() - begin


async def timer_arm_cancel(n):
    loop = asyncio.get_running_loop()
    others = [loop.call_later(1 + random.random() * 60, print) for _ in range(1000)]
    spans = [1 + random.random() * 60 for _ in range(4096)]
    begin = now()
    for i in range(n):
        loop.call_later(spans[i % 4096], print).cancel()
    elapsed = now() - begin
    for timer in others:
        timer.cancel()
    return elapsed


OPERATIONS = {
    "task/yield/2": task_yield,
    "task/spawn_await": spawn_await,
    "queue/ping_pong": queue_ping_pong,
    "queue/one_way/128": queue_one_way,
    "lock/uncontended": lock_uncontended,
    "lock/contended/4": lock_contended,
    "semaphore/uncontended": semaphore_uncontended,
    "event/ping_pong": event_set_wait,
    "future/await": future_await,
    "group/spawn/10": group_spawn,
    "gather/10": gather,
    "timeout/begin_end": timeout_begin_end,
    "select/2": select_two,
    "generator/next": generator_next,
    "context_var/get": context_var_get,
    "timer/arm_cancel/1000": timer_arm_cancel,
}


def main():
    loop, *words = sys.argv[1:]
    new_loop = asyncio.new_event_loop
    version = f"Python {platform.python_version()} asyncio"
    if loop == "uvloop":
        import uvloop
        new_loop = uvloop.new_event_loop
        version = f"uvloop {uvloop.__version__}, Python {platform.python_version()}"
    if words == ["--version"]:
        print(version)
    elif not words:
        for name in OPERATIONS:
            print(name, 10000)
    else:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            print(runner.run(OPERATIONS[words[0]](int(words[1]))))


if __name__ == "__main__":
    main()
