#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""against_cpython.py: does CPython's asyncio print what our tests say that it prints?

The traces that tests of tests/runtime assert ("Trace 55." and the assert_trace() after it) are run
here as the asyncio programs that they come from, on a virtual clock, and compared line by line. The
semantics are those of CPython 3.13 and later; with an older one only those scenarios are run that
did not change since, and only with --any-version. If the Python that runs this is older, a newer
one is looked for.

usage: against_cpython.py [--any-version] [NUMBER]...

Ends with 77 (skipped) when this Python is too old, with a word why.
"""

import asyncio
import collections
import os
import pathlib
import re
import selectors
import shutil
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent
trace = []


def emit(*words):
    trace.append(' '.join(str(w) for w in words))


# ---- a virtual clock: when nothing is ready, time jumps to the next timer ------------------------


class JumpingSelector(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError('deadlock: nothing is ready, and no timer is armed')
        JumpingSelector.now += max(timeout, 0)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        JumpingSelector.now = 0.0
        super().__init__(JumpingSelector())
        self._clock_resolution = 1e-9

    def time(self):
        return JumpingSelector.now


def ms():
    return round(asyncio.get_running_loop().time() * 1000)


def state(t):
    if not t.done():
        return 'pending'
    if t.cancelled():
        return 'cancelled'
    return f'exc:{type(t.exception()).__name__}' if t.exception() else f'result:{t.result()}'


sleep = asyncio.sleep
spawn = asyncio.create_task


def me():
    return asyncio.current_task()


# ---- the scenarios, by number: since which version they print this ------------------------------

SCENARIOS = {}


def scenario(number, where, since=(3, 11)):
    def keep(fn):
        SCENARIOS[number] = fn, where, since
        return fn
    return keep


@scenario(1, 'sync/test_traces.c')
async def sched_order():
    loop = asyncio.get_running_loop()
    fut = loop.create_future()

    async def waiter():
        await fut
        emit('waiter')

    async def start(name):
        emit(name, 'start')
        await sleep(0)
        emit(name, 'after sleep0')
    tasks = [spawn(waiter())]
    await sleep(0)
    tasks.append(spawn(start('A')))
    loop.call_soon(emit, 'cb1')
    tasks.append(spawn(start('B')))
    fut.set_result(1)
    loop.call_soon(emit, 'cb2')
    loop.call_later(0, emit, 'later0')
    emit('main yields')
    for i in 1, 2, 3:
        await sleep(0)
        emit(f'main{i}')
    await asyncio.gather(*tasks)


@scenario(5, 'sched/test_cancel.c')
async def cancel_before_start():
    ran = False

    async def body():
        nonlocal ran
        ran = True
    t = spawn(body())
    emit(t.cancel(), t.cancelling())
    emit(state(t))
    await asyncio.wait([t])
    emit(state(t))
    emit(ran)


@scenario(7, 'sync/test_future.c')
async def cancel_ignored_then_continue():
    loop = asyncio.get_running_loop()
    f, g = loop.create_future(), loop.create_future()

    async def body():
        try:
            await f
        except asyncio.CancelledError:
            emit('ignored')
        return await g
    t = spawn(body())
    await sleep(0)
    t.cancel()
    await sleep(0)
    await sleep(0)
    emit(state(t))
    g.set_result(7)
    emit(await t)


@scenario(9, 'sched/test_cancel.c')
async def cancel_at_end():
    async def body():
        me().cancel()
        return 12
    t = spawn(body())
    await asyncio.wait([t])
    emit(state(t))


@scenario(11, 'sched/test_cancel.c')
async def cancel_twice_counts():
    hits = 0

    async def body():
        nonlocal hits
        try:
            await sleep(10)
        except asyncio.CancelledError:
            emit('hit', hits, me().cancelling())
            hits += 1
        await sleep(0.05)
        return 'ok'
    t = spawn(body())
    await sleep(0)
    t.cancel()
    t.cancel()
    emit(t.cancelling())
    await sleep(0)
    await sleep(0)
    emit(state(t))
    emit(await t, ms())


@scenario(13, 'sched/test_cancel.c')
async def cancel_chain():
    f = asyncio.get_running_loop().create_future()

    async def inner():
        try:
            await f
        except asyncio.CancelledError:
            emit('inner unwinds')
            raise

    async def outer():
        t = spawn(inner())
        await sleep(0)
        me().cancel()
        try:
            await t
        except asyncio.CancelledError:
            emit('outer unwinds', state(t))
            raise
    t = spawn(outer())
    await asyncio.wait([t])
    emit(state(t), f.cancelled())


@scenario(15, 'sync/test_combine.c')
async def gather_cancel_outer():
    async def child(i):
        try:
            await sleep(1)
        except asyncio.CancelledError:
            emit('child', i)
            raise

    async def parent():
        try:
            await asyncio.gather(child(1), child(2), return_exceptions=True)
        except asyncio.CancelledError:
            emit('parent')
            raise
    t = spawn(parent())
    await sleep(0)
    await sleep(0)
    emit(t.cancel())
    emit(t.done())
    await asyncio.wait([t])


@scenario(17, 'sync/test_combine.c')
async def gather_dup_and_empty():
    starts = 0

    async def x():
        nonlocal starts
        starts += 1
        return 'r'
    t = spawn(x())
    results = await asyncio.gather(t, t, t)
    emit('[' + ', '.join(results) + ']', starts)
    emit(await asyncio.gather())


@scenario(21, 'sync/test_combine.c')
async def wait_modes():
    async def ends(after, error=False):
        await sleep(after)
        if error:
            raise ValueError
    for mode in asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED:
        begin = ms()
        names = {spawn(ends(0.01)): 'a', spawn(ends(0.02, True)): 'b', spawn(ends(0.03)): 'c'}
        done, pending = await asyncio.wait(names, return_when=mode)
        emit(mode, sorted(names[t] for t in done), sorted(names[t] for t in pending), ms() - begin)
        await asyncio.gather(*names, return_exceptions=True)
    t = spawn(ends(1))
    done, pending = await asyncio.wait([t], timeout=0.01)
    emit(list(done), 'x', state(t))
    waiter = spawn(asyncio.wait([t]))
    await sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    emit(state(waiter), state(t))
    try:
        await asyncio.wait([])
    except ValueError:
        emit('ValueError')
    t.cancel()


@scenario(23, 'sync/test_combine_one.c', (3, 12))
async def wait_for_zero():
    async def body():
        emit('started')
    for limit in 0, -1:
        try:
            await asyncio.wait_for(body(), limit)
        except TimeoutError:
            emit('TimeoutError', ms())
    f = asyncio.get_running_loop().create_future()
    f.set_result('d')
    emit(await asyncio.wait_for(f, 0))


@scenario(29, 'sync/test_combine_one.c')
async def wait_for_shield():
    async def body():
        await sleep(0.05)
        return 'done'
    t = spawn(body())
    try:
        await asyncio.wait_for(asyncio.shield(t), 0.01)
    except TimeoutError:
        emit('TimeoutError', state(t))
    emit(await t, ms())


@scenario(31, 'sync/test_timeout.c')
async def timeout_nested_inner_first():
    try:
        async with asyncio.timeout(0.1) as outer:
            try:
                async with asyncio.timeout(0.01):
                    await sleep(1)
            except TimeoutError:
                emit('inner', ms(), outer.expired())
            await sleep(1)
    except TimeoutError:
        emit('outer', ms())


@scenario(33, 'sync/test_timeout.c')
async def timeout_foreign_cancel():
    async def body():
        try:
            async with asyncio.timeout(10) as t:
                me().cancel()
                await sleep(1)
        except asyncio.CancelledError:
            emit('CE', t.expired(), ms())
            raise
    await asyncio.wait([spawn(body())])


@scenario(35, 'sync/test_timeout.c')
async def timeout_zero_and_reschedule():
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(0):
            emit('body starts')
            await sleep(0)
            await sleep(0)
    except TimeoutError:
        emit('T0')
    try:
        async with asyncio.timeout(0.01) as t:
            t.reschedule(loop.time() + 0.05)
            await sleep(0.02)
            emit('alive', ms())
            await sleep(1)
    except TimeoutError:
        emit('T', ms())
    async with asyncio.timeout(0.01) as t:
        t.reschedule(None)
        await sleep(0.02)
    emit('no late fire')


@scenario(39, 'sync/test_group.c')
async def tg_many_errors_same_tick():
    async def fail(i):
        await sleep(0.01)
        raise ValueError(-100 - i)
    try:
        async with asyncio.TaskGroup() as g:
            for i in range(3):
                g.create_task(fail(i))
    except* ValueError as group:
        emit([e.args[0] for e in group.exceptions])


@scenario(43, 'sync/test_group.c')
async def tg_spawn_while_exiting_and_closed():
    async def leaf():
        emit('leaf')

    async def child():
        await sleep(0.01)
        g.create_task(leaf())
    async with asyncio.TaskGroup() as g:
        g.create_task(child())
    c = leaf()
    try:
        g.create_task(c)
    except RuntimeError:
        emit(True)
    c.close()


@scenario(45, 'sync/test_group.c')
async def tg_nested_both():
    async def fail():
        await sleep(0.01)
        raise ValueError

    async def wait():
        await sleep(1)
    try:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(fail())
            try:
                async with asyncio.TaskGroup() as inner:
                    inner.create_task(fail())
                    await wait()
            except* ValueError:
                emit('inner', me().cancelling())
            emit('between', me().cancelling())
            await wait()
    except* ValueError:
        emit('outer', me().cancelling())


@scenario(47, 'sync/test_group.c')
async def tg_in_timeout():
    async def child():
        try:
            await sleep(1)
        finally:
            emit('child cleanup', ms())
    try:
        async with asyncio.timeout(0.01):
            async with asyncio.TaskGroup() as g:
                g.create_task(child())
    except TimeoutError:
        emit('TimeoutError', ms(), me().cancelling())


@scenario(37, 'sync/test_timeout.c')
async def timeout_suppressed_in_body():
    async with asyncio.timeout(0.01) as t:
        try:
            await sleep(1)
        except asyncio.CancelledError:
            emit('swallowed')
    emit(t.expired(), me().cancelling())


@scenario(19, 'sync/test_combine_one.c')
async def shield_inner_cancelled():
    inner = spawn(sleep(10))

    async def outer():
        try:
            await asyncio.shield(inner)
        except asyncio.CancelledError:
            emit('outer CE', ms())
            raise
    t = spawn(outer())
    await sleep(0)
    await sleep(0)
    inner.cancel()
    await asyncio.wait([t])
    emit(t.cancelled())


@scenario(41, 'sync/test_group.c', (3, 13))
async def tg_error_while_cancelling():
    async def fail(error):
        try:
            await sleep(10)
        finally:
            raise ValueError(error)

    async def body():
        try:
            async with asyncio.TaskGroup() as g:
                g.create_task(fail(-33))
                g.create_task(fail(-34))
                await sleep(10)
        except* ValueError as group:
            emit(sorted((e.args[0] for e in group.exceptions), reverse=True))
        emit(me().cancelling())
        await sleep(0)
    t = spawn(body())
    await sleep(0.01)
    t.cancel()
    await asyncio.wait([t])


@scenario(49, 'sync/test_lock.c')
async def lock_cancel_race():
    lock = asyncio.Lock()

    async def hold():
        await lock.acquire()
        emit('A got')
        await sleep(0.01)
        lock.release()

    async def take(name):
        async with lock:
            emit(name, 'got')
    a, b, c = spawn(hold()), spawn(take('B')), spawn(take('C'))

    def cancel(_):
        b.cancel()
        emit(lock.locked(), state(a))
    while not a.done():  # its lap is the one in which B is woken
        if lock._waiters and lock._waiters[0].done():
            break
        await sleep(0 if lock.locked() and ms() else 0.01)
    cancel(None)
    await asyncio.wait([a, b, c])


@scenario(57, 'sync/test_semaphore.c', (3, 13))
async def sem_multi_wake():
    s = asyncio.Semaphore(0)
    tasks = []

    async def take(i):
        await s.acquire()
        emit(i)
        if i == 1:
            tasks.append(spawn(take(4)))
    tasks += [spawn(take(i)) for i in (1, 2, 3)]
    await sleep(0)
    emit('locked', s.locked())
    for _ in range(3):
        s.release()
    await sleep(0)
    await sleep(0)
    s.release()
    await asyncio.gather(*tasks)


@scenario(63, 'sync/test_queue.c')
async def queue_put_cancel_race():
    q = asyncio.Queue(1)
    a, b, x = (spawn(q.put(c)) for c in 'abX')
    await sleep(0)
    x.cancel()
    await sleep(0)
    emit(state(a), state(b), state(x))
    emit(q.get_nowait())
    await sleep(0)
    emit(q.get_nowait())
    await b


@scenario(51, 'sync/test_event.c')
async def event_set_clear_wakes_all():
    e = asyncio.Event()

    async def wait(name):
        r = await e.wait()
        emit(name, e.is_set())
        return r

    async def late():
        emit('late', await e.wait())
    tasks = [spawn(wait(i)) for i in range(3)]
    await sleep(0)
    e.set()
    e.clear()
    t = spawn(late())
    results = await asyncio.gather(*tasks)
    emit(results, state(t))
    e.set()
    await t


@scenario(53, 'sync/test_condition.c')
async def cond_cancel_reacquires():
    c = asyncio.Condition()

    async def wait():
        async with c:
            try:
                await c.wait()
            except asyncio.CancelledError:
                emit('CE, locked', c.locked())
                raise
    t = spawn(wait())
    await sleep(0)
    await c.acquire()
    c.notify(1)
    await sleep(0)
    t.cancel()
    await sleep(0)
    emit(state(t))
    c.release()
    await asyncio.wait([t])
    emit(state(t), c.locked())


@scenario(55, 'sync/test_semaphore.c')
async def sem_fifo():
    s = asyncio.Semaphore(1)

    async def coro(name):
        await s.acquire()
        emit(f'{name}_1')
        await sleep(0.01)
        s.release()
        await s.acquire()
        emit(f'{name}_2')
        await sleep(0.01)
        s.release()
    await asyncio.gather(*(coro(f'c{i}') for i in (1, 2, 3)))


@scenario(59, 'sync/test_barrier.c')
async def barrier_basic():
    b = asyncio.Barrier(3)

    async def wait(name):
        emit(name, await b.wait())
    ts = [spawn(wait('a')), spawn(wait('b'))]
    await sleep(0)
    i = await b.wait()
    emit('c', i)
    emit('n', b.n_waiting)
    await asyncio.gather(*ts)
    emit(b.n_waiting, b.broken)


@scenario(61, 'sync/test_queue.c')
async def queue_backpressure_order():
    q = asyncio.Queue(1)

    async def produce():
        for i in range(3):
            await q.put(i)
            emit('put', i)

    async def consume():
        for _ in range(3):
            emit('got', await q.get())
            await sleep(0)
    await asyncio.gather(produce(), consume())


@scenario(65, 'sync/test_queue.c')
async def queue_join_task_done():
    q = asyncio.Queue()

    async def work():
        while True:
            i = await q.get()
            await sleep(0.01)
            emit('done', i)
            q.task_done()
    for i in range(3):
        q.put_nowait(i)
    t = spawn(work())
    await q.join()
    emit('joined', ms())
    t.cancel()
    try:
        q.task_done()
    except ValueError:
        emit('ValueError')


@scenario(67, 'sync/test_queue.c', (3, 13))
async def queue_shutdown_graceful():
    q = asyncio.Queue(1)
    q.put_nowait('d')
    put = spawn(q.put('e'))
    await sleep(0)
    q.shutdown()
    await sleep(0)
    await sleep(0)
    emit(state(put))
    join = spawn(q.join())
    emit(await q.get())
    await sleep(0)
    emit(state(join))
    for call in q.get(), q.put('f'):
        try:
            await call
        except asyncio.QueueShutDown:
            emit('QueueShutDown')
    q.task_done()
    await asyncio.wait([join])
    emit(state(join))


@scenario(69, 'sched/test_callback.c', (3, 12))
async def eager_tasks():
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)

    async def a():
        emit('runs now A')
        return 1

    async def b():
        emit('b1')
        await sleep(0)
        emit('b2')
    t = spawn(a())
    emit(state(t), 'main')
    t = spawn(b())
    emit('main')
    await t


# ---- ours, from the tests -----------------------------------------------------------------------

# The same thing in another spelling: a task without a result gives 0 here.
SPELLINGS = [('result:None', 'result:0')]


def ours(number, where):
    """The first trace that is asserted after the words 'trace NUMBER'."""
    text = (TESTS / where).read_text()
    m = re.search(rf'[Tt]race_?\s?{number}\b|trace_{number}_', text)
    a = m and re.compile(r'assert_trace\(((?:\s*"(?:[^"\\]|\\.)*")+)\)').search(text, m.end())
    return ''.join(re.findall(r'"((?:[^"\\]|\\.)*)"', a.group(1))) if a else None


def run(fn):
    trace.clear()
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(fn())
    text = ' · '.join(trace)
    for theirs, here in SPELLINGS:
        text = text.replace(theirs, here)
    return text


def newer_python():
    """One that is 3.13 or later: $APUS_PYTHON, in $PATH, or pyenv's."""
    pyenv = pathlib.Path(os.environ.get('PYENV_ROOT', pathlib.Path.home() / '.pyenv'))
    names = [os.environ.get('APUS_PYTHON'),
             *(shutil.which(f'python3.{n}') for n in range(20, 12, -1)),
             *sorted(map(str, pyenv.glob('versions/3.*/bin/python3')), reverse=True)]
    for name in filter(None, names):
        said = subprocess.run([name, '-c', 'import sys; print(sys.version_info >= (3, 13))'],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if said.returncode == 0 and said.stdout.strip() == b'True':
            return name
    return None


def main():
    args = [a for a in sys.argv[1:] if not a.startswith('--')]
    if '--help' in sys.argv:
        print(__doc__)
        return 0
    if sys.version_info < (3, 13) and '--any-version' not in sys.argv:
        python = newer_python()
        if python:
            os.execv(python, [python, __file__, *sys.argv[1:]])
        print('skipped: no Python 3.13 or later (APUS_PYTHON says where one is)')
        return 77
    print(f'CPython {sys.version.split()[0]}')
    counts = collections.Counter()
    for number, (fn, where, since) in sorted(SCENARIOS.items()):
        if args and str(number) not in args:
            continue
        if sys.version_info < since:
            counts['skipped'] += 1
            print(f'skip {number} {fn.__name__}: since {since[0]}.{since[1]}')
            continue
        theirs, here = run(fn), ours(number, where)
        counts['ok' if theirs == here else 'not ok'] += 1
        print('ok' if theirs == here else 'not ok', number, fn.__name__)
        if theirs != here:
            print(f'    CPython: {theirs}\n    ours:    {here}')
    print(', '.join(f'{n} {word}' for word, n in sorted(counts.items())))
    return 1 if counts['not ok'] or not counts['ok'] else 0


if __name__ == '__main__':
    sys.exit(main())
