"""Snowflake IDs made by an application, on a worker ID leased from a registry.

    ids = Snowflakes('host=registry.example dbname=registry', 'orders-7f9c:8080')
    ids.next()              # an int; raises NoLease when there is no lease
    ids.next_many(100)      # a list of increasing IDs
    ids.close()             # gives back what is left of the lease

One object per process is enough.  All threads may use it, and so may a child after
os.fork(): its first call takes a lease of its own.  A thread renews the lease, so
next() waits for the registry only where the process has not had a lease yet.

Needs psycopg 3.  doc/applications.md has more.
"""
import contextlib
import os
import random
import socket
import threading
import time
import uuid
import weakref
from datetime import datetime, timedelta, timezone

import psycopg
from psycopg.rows import namedtuple_row

PATIENCE = 5        # seconds: to connect, and for the answer
LEAST_PAUSE = 0.5   # seconds between two calls

LEASE = """CALL snowflake_registry.lease(holder => %s, duration => %s::bigint * interval '1 ms',
    asker_now => timestamptz 'epoch' + %s::bigint * interval '1 ms')"""
RENEW = """CALL snowflake_registry.renew(token => %s, duration => %s::bigint * interval '1 ms',
    asker_now => timestamptz 'epoch' + %s::bigint * interval '1 ms', registry => %s, attempt => %s)"""
RELEASE = """SELECT snowflake_registry.release(token => %s,
    used_until => timestamptz 'epoch' + %s::bigint * interval '1 ms', attempt => %s)"""


class NoLease(Exception):
    """No lease covers the ID; the cause is the registry's latest error, if any."""


def unix_ms(when):
    return (when - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)


def clock():
    return time.time_ns() // 1_000_000


class Snowflakes:
    def __init__(self, conninfo, holder, seconds=60):
        self._conninfo = conninfo
        self._holder = holder
        self._duration = round(seconds * 1000)
        self._closed = False
        self._begin()
        begin = weakref.WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: begin() and begin()())
        with self._lock:
            self._start()

    # A child must not use its parent's lease, nor a lock that was held at the fork.
    def _begin(self):
        self._lock = threading.Lock()   # guards what next() uses, from _layout to _half
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = None
        self._layout = None             # of the first lease: id_bits, worker_bits, epoch, registry
        self._epoch = 0                 # in ms since 1970
        self._shift = self._bits = 0    # of the time; of the sequence
        self._worker = None
        self._from = self._until = 0    # the interval, in ms since 1970
        self._half = 0                  # the tick from which on to renew
        self._last = -1                 # the last tick, an ID without its worker ID
        self._token = self._error = None
        self._attempt = None            # of the renewal whose answer has not come

    def next(self):
        return self.next_many(1)[0]

    def next_many(self, n):
        with self._lock:
            if self._thread is None and not self._closed:
                self._start()
            bits, shift, worker = self._bits, self._shift, self._worker
            # Rule 1: above the last ID, and before the end of the interval.  In a new
            # millisecond the sequence continues, so that id % 16 spreads.
            first = (max(clock(), self._from) - self._epoch) << bits
            first = self._last + 1 if first <= self._last else first | (self._last + 1) & 63
            end = first + n
            if end > self._half:
                self._wake.set()
            if end > (self._until - self._epoch) << bits:
                raise NoLease('closed' if self._closed else f'the lease of worker ID {worker} has ended') from self._error
            self._last = end - 1
        mask = (1 << bits) - 1
        return [tick >> bits << shift | worker << bits | tick & mask for tick in range(first, end)]

    def close(self):
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._until = self._epoch
            thread = self._thread
        self._stop.set()
        self._wake.set()
        if thread is not None:
            thread.join()
        # Rule 3: no more IDs, and then the millisecond after the last one.
        if self._token is not None:
            with contextlib.suppress(Exception):    # the lease ends by itself
                self._call(RELEASE, self._token, max(self._newest() + 1, self._from), self._attempt)

    def _newest(self):
        return self._epoch + (self._last >> self._bits)

    # The caller has the lock.  It is the first call in this process.
    def _start(self):
        self._accept(self._lease(), clock())
        self._thread = threading.Thread(target=self._renew_for_ever, name='snowflakes', daemon=True)
        self._thread.start()

    # Rule 2: renews when half of the time is over, by the clock or by the last ID.
    def _renew_for_ever(self):
        failures, pause = 0, LEAST_PAUSE
        while not self._stop.wait(pause):
            if failures == 0:
                half = self._epoch + (self._half >> self._bits)
                left = half - max(clock(), self._newest())
                self._wake.wait(min(max(left, 0), self._duration) / 1000)
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                now = max(clock(), self._newest())
                lease = self._renew(now) or self._lease()
                with self._lock:
                    self._accept(lease, now)
                failures, pause = 0, LEAST_PAUSE
            except Exception as error:
                self._error = error
                failures += 1
                pause = random.uniform(0.5, 1) * min(LEAST_PAUSE * 2 ** failures, 5)

    # An answer that is lost may have replaced the token.  The same renewal, with the
    # same attempt, is repeated until there is an answer.  None if the token is void.
    def _renew(self, now):
        if self._token is None:
            return None
        self._attempt = self._attempt or uuid.uuid4()
        try:
            return self._call(RENEW, self._token, self._duration, now, self._layout[3], self._attempt)
        except psycopg.Error as error:
            if error.diag.sqlstate != 'SR001':
                raise
            self._token = self._attempt = None
            return None

    # Nothing recognises the repetition of a lease: if the answer is lost, that worker
    # ID is unused until its interval ends.
    def _lease(self):
        return self._call(LEASE, self._holder, self._duration, max(clock(), self._newest()))

    # The caller has the lock.
    def _accept(self, lease, asked):
        layout = (lease.id_bits, lease.worker_bits, lease.epoch, lease.registry)
        if self._layout not in (None, layout):
            raise NoLease(f'this is another registry, or its layout has changed: {lease.registry}')
        self._layout = layout
        self._epoch = unix_ms(lease.epoch)
        self._shift = lease.id_bits - 41
        self._bits = self._shift - lease.worker_bits
        if lease.worker_id != self._worker:
            # The next ID may have a smaller worker ID, so it needs a greater time.
            self._last |= (1 << self._bits) - 1
        self._worker = lease.worker_id
        self._from = unix_ms(lease.valid_from)
        if not self._closed:
            self._until = unix_ms(lease.valid_until)
        self._half = ((max(asked, self._from) + unix_ms(lease.valid_until)) // 2 - self._epoch) << self._bits
        self._token = lease.token
        self._attempt = self._error = None

    # One statement, with autocommit, on a connection of its own.  If the registry does
    # not answer, the socket is shut down, which ends the wait.
    def _call(self, sql, *arguments):
        with psycopg.connect(self._conninfo, autocommit=True, connect_timeout=PATIENCE, row_factory=namedtuple_row,
                             fallback_application_name=self._holder) as connection, \
                socket.socket(fileno=os.dup(connection.fileno())) as line:
            def cut():
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
            timer = threading.Timer(PATIENCE, cut)
            timer.daemon = True
            timer.start()
            try:
                return connection.execute(sql, arguments).fetchone()
            finally:
                timer.cancel()
