"""Takes IDs until SIGTERM; usage: take.py FILE HOLDER SECONDS THREADS MILLISECONDS

Each thread takes twenty IDs every so many milliseconds, and appends them to
FILE.0, FILE.1 and so on in the order in which they were made.  SIGUSR1 forks: the
child does the same, and its files are called FILE.child.0 and so on.  At the end
prints how often there was no ID.
"""
import os
import signal
import sys
import threading
import time

from snowflakes import Snowflakes

name, holder = sys.argv[1:3]
seconds, threads, pause = (int(word) for word in sys.argv[3:6])
parent = os.getppid()
going = True
fork = False
refused = 0


def end(*_):
    global going
    going = False


def want_fork(*_):
    global fork
    fork = True


def take(ids, file):
    global refused
    turn = 0
    while going:
        lines = []
        turn += 1
        try:
            if turn % 2:
                lines = ids.next_many(20)
            else:
                for _ in range(20):
                    lines.append(ids.next())
        except Exception:
            refused += 1
        os.write(file, b''.join(b'%d\n' % line for line in lines))
        time.sleep(pause / 1000)


def start(ids, name):
    workers = []
    for n in range(threads):
        file = os.open(f'{name}.{n}', os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        workers.append(threading.Thread(target=take, args=(ids, file)))
        workers[-1].start()
    return workers


signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, want_fork)
ids = None
while going and ids is None:
    try:
        ids = Snowflakes('', holder, seconds)
    except Exception:
        refused += 1
        time.sleep(0.2)

own = True
workers = start(ids, name) if ids else []
child = None
while going and os.getppid() == parent:
    if fork:
        fork = False
        child = os.fork()
        if child == 0:
            parent = os.getppid()
            own = False
            workers = start(ids, f'{name}.child')
    time.sleep(0.02)
going = False
for worker in workers:
    worker.join()
if ids:
    ids.close()
if child:
    os.kill(child, signal.SIGTERM)
    for _ in range(200):
        if os.waitpid(child, os.WNOHANG)[0] != 0:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        print('the child does not end', file=sys.stderr)
if own:
    print(f'refused {refused}', flush=True)
