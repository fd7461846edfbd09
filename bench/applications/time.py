"""Times the generator for Python; usage: time.py CONNINFO ROUNDS IDS

Prints, for each round, what was timed and the nanoseconds of an ID."""
import sys
import time
import uuid

from snowflakes import Snowflakes

rounds, n = int(sys.argv[2]), int(sys.argv[3])
ids = Snowflakes(sys.argv[1], 'bench Python', 3600)
timed = {'Python, next()': ids.next, 'Python, uuid.uuid4()': uuid.uuid4}

for _ in range(rounds):
    for name, call in timed.items():
        start = time.perf_counter_ns()
        for _ in range(n):
            call()
        print(name, (time.perf_counter_ns() - start) / n, sep='\t')
    start = time.perf_counter_ns()
    ids.next_many(n)
    print('Python, next_many()', (time.perf_counter_ns() - start) / n, sep='\t')
ids.close()
