// Snowflake IDs made by an application, on a worker ID that it leases from a
// registry (doc/registry.md).
//
//	const snowflakes = new Snowflakes({ host: '…', database: '…' }, 'orders-7f9c:8080');
//	await snowflakes.start();
//	snowflakes.next();             // a BigInt; throws when there is no lease
//	await snowflakes.stop();
//
// The three rules are marked below.  One object per process is enough: it makes a few
// million IDs per second.  For a registry with id_bits = 63.
import { randomUUID } from 'node:crypto';
import pg from 'pg';

export class Snowflakes {
	#connection;
	#holder;
	#duration;          // of a lease, in ms
	#client = null;
	#timer = null;
	#running = null;    // the attempt to lease or renew that is under way
	#stopped = false;
	#layout = null;     // of the first lease
	#lease = null;      // whose interval may be used
	#token = null;      // of that lease, until it is refused
	#attempt = null;    // the renewal whose answer has not come
	#last = -1n;        // the last ID without its worker ID: ms since the epoch, and sequence
	error = null;       // why there is no other lease
	leases = 0;

	constructor(connection, holder, seconds = 60) {
		this.#connection = {
			application_name: holder, keepAlive: true,
			connectionTimeoutMillis: 5000, query_timeout: 5000, ...connection,
		};
		this.#holder = holder;
		this.#duration = seconds * 1000;
	}

	// Tries once, and goes on trying; until there is a lease next() throws.
	async start() {
		await this.#go_on();
	}

	// Rule 1: only what lies in the interval, and above the last one.
	next() {
		if (this.#stopped || !this.#lease) throw this.error ?? new Error('not started');
		const { epoch, sequence_bits } = this.#layout;
		const { worker_id, from, until } = this.#lease;
		let first = BigInt(Math.max(Date.now(), from) - epoch) << sequence_bits;

		if (first <= this.#last) first = this.#last + 1n;
		if (first >= BigInt(until - epoch) << sequence_bits) {
			throw this.error ?? new Error(`the lease of worker ID ${worker_id} has ended`);
		}
		this.#last = first;
		const sequence = first & ((1n << sequence_bits) - 1n);
		return ((first >> sequence_bits) << 22n) | (BigInt(worker_id) << sequence_bits) | sequence;
	}

	// Rule 3: no more IDs, and then what was not used is given back.
	async stop() {
		this.#stopped = true;
		this.error = new Error('stopped');
		clearTimeout(this.#timer);
		await this.#running;
		try {
			if (this.#token) {
				const used_until = new Date(this.#newest() + 1);
				await this.#query('SELECT snowflake_registry.release($1, $2, $3)', [this.#token, used_until, this.#attempt]);
			}
		} catch {
			// It ends by itself.
		}
		await this.#disconnect();
	}

	// The time of the newest ID.
	#newest() {
		return this.#layout ? Number(this.#last >> this.#layout.sequence_bits) + this.#layout.epoch : 0;
	}

	// Rule 2: renews when half of the time is over.  A renewal whose answer is lost is
	// repeated; a token that is refused is forgotten.
	#go_on() {
		this.#running = this.#renew_or_lease().catch(async (error) => {
			this.error = error;
			if (error.code === 'SR001') this.#token = this.#attempt = null;
			await this.#disconnect();
		}).then(() => {
			if (this.#stopped) return;
			const wait = this.#attempt || !this.#token ? 200 + 300 * Math.random() : Math.max((this.#lease.until - Date.now()) / 2, 50);
			this.#timer = setTimeout(() => this.#go_on(), wait);
		});
		return this.#running;
	}

	async #renew_or_lease() {
		const token = this.#token;
		// This clock, or the newest ID where that is ahead of it.
		const now = new Date(Math.max(Date.now(), this.#newest()));

		if (token) this.#attempt ??= randomUUID();
		const { rows } = token
			? await this.#query('CALL snowflake_registry.renew($1, $2, $3, $4, $5)',
				[token, `${this.#duration} ms`, now, this.#layout.registry, this.#attempt])
			: await this.#query('CALL snowflake_registry.lease($1, $2, asker_now => $3)',
				[this.#holder, `${this.#duration} ms`, now]);

		const [row] = rows;
		const layout = { sequence_bits: BigInt(22 - row.worker_bits), epoch: row.epoch.getTime(), registry: row.registry };
		this.#layout ??= layout;
		if (Object.keys(layout).some((key) => layout[key] !== this.#layout[key])) {
			throw new Error(`this is another registry, or it has another layout: ${row.registry}`);
		}
		this.#lease = { worker_id: row.worker_id, from: row.valid_from.getTime(), until: row.valid_until.getTime() };
		this.#token = row.token;
		this.#attempt = null;
		this.error = null;
		if (!token) this.leases++;
	}

	// Each query is a statement by itself, with autocommit.
	async #query(text, values) {
		if (!this.#client) {
			const client = new pg.Client(this.#connection);
			client.on('error', () => {});    // the next query fails
			this.#client = client;
			await client.connect();
		}
		return this.#client.query(text, values);
	}

	// Without waiting for a server that does not answer.
	async #disconnect() {
		const client = this.#client;

		this.#client = null;
		if (client) await Promise.race([client.end().catch(() => {}), new Promise((resolve) => setTimeout(resolve, 500).unref())]);
		client?.connection?.stream?.destroy();
	}
}
