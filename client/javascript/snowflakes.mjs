// Snowflake IDs made by an application, on a worker ID leased from a registry.
//
//	const ids = await Snowflakes.open({ host: 'registry.example', database: 'registry' }, 'orders-7f9c:8080');
//	ids.next();             // a BigInt; throws NoLease when there is no lease
//	ids.nextMany(100);      // an array of increasing IDs
//	await ids.close();      // gives back what is left of the lease
//
// One object per process is enough.  A timer renews the lease, so next() never waits.
// Worker threads and the processes of a cluster share no memory: each opens its own.
//
// Needs pg (node-postgres).  doc/applications.md has more.
import { randomUUID } from 'node:crypto';
import pg from 'pg';

const patience = 5000;      // ms: to connect, and for the answer
const least_pause = 500;    // ms between two calls

const lease_sql = `CALL snowflake_registry.lease(holder => $1, duration => $2::bigint * interval '1 ms',
	asker_now => timestamptz 'epoch' + $3::bigint * interval '1 ms')`;
const renew_sql = `CALL snowflake_registry.renew(token => $1, duration => $2::bigint * interval '1 ms',
	asker_now => timestamptz 'epoch' + $3::bigint * interval '1 ms', registry => $4, attempt => $5)`;
const release_sql = `SELECT snowflake_registry.release(token => $1,
	used_until => timestamptz 'epoch' + $2::bigint * interval '1 ms', attempt => $3)`;

export class NoLease extends Error {}

export class Snowflakes {
	#connection;
	#holder;
	#duration;              // of a lease, in ms
	#layout = null;         // of the first lease
	#lease = null;          // the interval: worker ID, and ms since the epoch
	#half = 0;              // when to renew: ms since the epoch
	#ms = -1;               // of the last ID, since the epoch
	#sequence = -1;         // of the last ID
	#token = null;
	#attempt = null;        // of the renewal whose answer has not come
	#error = null;          // why there is no other lease
	#failures = 0;
	#asked = 0;             // when the latest call ended, by the monotonic clock
	#running = null;        // the call that is under way
	#timer = null;
	#closed = false;

	// Takes a lease; rejects if it cannot.
	static async open(connection, holder, seconds = 60) {
		const ids = new Snowflakes();

		ids.#connection = {
			fallback_application_name: holder, connectionTimeoutMillis: patience, query_timeout: patience, ...connection,
		};
		ids.#holder = holder;
		ids.#duration = Math.round(seconds * 1000);
		await ids.#renew_or_lease();
		ids.#renew_later();
		return ids;
	}

	next() {
		const { ms, sequence } = this.#take(1);

		return this.#id(ms, sequence);
	}

	nextMany(n) {
		const { ms, sequence } = this.#take(n);
		const bits = this.#layout.sequence_bits;

		return Array.from({ length: n }, (_, i) => this.#id(ms + (sequence + i >> bits), sequence + i & (1 << bits) - 1));
	}

	#id(ms, sequence) {
		return BigInt(ms) << this.#layout.shift | BigInt(this.#lease.worker << this.#layout.sequence_bits | sequence);
	}

	// Rule 1: above the last ID, and before the end of the interval.  In a new
	// millisecond the sequence continues, so that id % 16 spreads.
	#take(n) {
		const bits = this.#layout.sequence_bits;
		let ms = Math.max(Date.now() - this.#layout.epoch, this.#lease.from);
		let sequence = this.#sequence + 1;

		if (ms > this.#ms) {
			sequence &= 63;
		} else {
			ms = this.#ms + (sequence >> bits);
			sequence &= (1 << bits) - 1;
		}
		const last = sequence + n - 1;
		const last_ms = ms + Math.floor(last / 2 ** bits);

		if (last_ms >= this.#half) this.#renew_soon();
		if (this.#closed || last_ms >= this.#lease.until) {
			throw new NoLease(this.#closed ? 'closed' : `the lease of worker ID ${this.#lease.worker} has ended`, { cause: this.#error });
		}
		this.#ms = last_ms;
		this.#sequence = last % 2 ** bits;
		return { ms, sequence };
	}

	// Rule 3: no more IDs, and then the millisecond after the last one.
	async close() {
		if (this.#closed) return;
		this.#closed = true;
		clearTimeout(this.#timer);
		await this.#running;
		if (!this.#token) return;
		const used_until = this.#layout.epoch + Math.max(this.#ms + 1, this.#lease.from);

		await this.#query(release_sql, [this.#token, used_until, this.#attempt]).catch(() => {});   // the lease ends by itself
	}

	#now() {
		return Math.max(Date.now(), this.#layout ? this.#layout.epoch + this.#ms : 0);
	}

	// Rule 2: renews when half of the time is over, by the clock or by the last ID.
	#renew_later() {
		const pause = this.#failures === 0
			? Math.min(Math.max(this.#layout.epoch + this.#half - this.#now(), least_pause), this.#duration)
			: Math.min(least_pause * 2 ** this.#failures, patience) * (1 + Math.random()) / 2;

		clearTimeout(this.#timer);
		if (!this.#closed) this.#timer = setTimeout(() => this.#renew(), pause).unref();
	}

	#renew_soon() {
		if (this.#closed || this.#running || this.#failures > 0 || performance.now() - this.#asked < least_pause) return;
		clearTimeout(this.#timer);
		this.#renew();
	}

	#renew() {
		this.#running = this.#renew_or_lease().then(() => {
			this.#failures = 0;
		}, (error) => {
			this.#error = error;
			this.#failures++;
		}).then(() => {
			this.#running = null;
			this.#asked = performance.now();
			this.#renew_later();
		});
	}

	async #renew_or_lease() {
		const now = this.#now();
		const rows = await this.#repeat_renewal(now) ?? await this.#query(lease_sql, [this.#holder, this.#duration, now]);

		this.#accept(rows[0], now);
	}

	// An answer that is lost may have replaced the token.  The same renewal, with the same
	// attempt, is repeated until there is an answer.  Nothing recognises the repetition of
	// a lease: if that answer is lost, the worker ID is unused until its interval ends.
	async #repeat_renewal(now) {
		if (!this.#token) return null;
		this.#attempt ??= randomUUID();
		try {
			return await this.#query(renew_sql, [this.#token, this.#duration, now, this.#layout.registry, this.#attempt]);
		} catch (error) {
			if (error.code !== 'SR001') throw error;
			this.#token = this.#attempt = null;
			return null;
		}
	}

	#accept(row, asked) {
		const epoch = row.epoch.getTime();
		const shift = row.id_bits - 41;
		const layout = { shift: BigInt(shift), sequence_bits: shift - row.worker_bits, epoch, registry: row.registry };

		this.#layout ??= layout;
		if (Object.keys(layout).some((key) => layout[key] !== this.#layout[key])) {
			throw new Error(`this is another registry, or its layout has changed: ${row.registry}`);
		}
		// After a change the next ID may have a smaller worker ID, so it needs a greater time.
		if (row.worker_id !== this.#lease?.worker) this.#sequence = (1 << layout.sequence_bits) - 1;
		this.#lease = { worker: row.worker_id, from: row.valid_from.getTime() - epoch, until: row.valid_until.getTime() - epoch };
		this.#half = Math.floor((Math.max(asked - epoch, this.#lease.from) + this.#lease.until) / 2);
		this.#token = row.token;
		this.#attempt = this.#error = null;
	}

	// One statement, with autocommit, on a connection of its own, which is left without
	// waiting for a server that does not answer.
	async #query(text, values) {
		const client = new pg.Client(this.#connection);

		client.on('error', () => {});       // the query fails as well
		try {
			await client.connect();
			return (await client.query(text, values)).rows;
		} finally {
			client.end().catch(() => {});
			setTimeout(() => client.connection.stream.destroy(), 500).unref();
		}
	}
}
