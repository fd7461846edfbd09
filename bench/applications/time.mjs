// Times the generator for JavaScript and those of npm, as time.py does.
import { randomUUID } from 'node:crypto';
import { Snowflake as Sapphire } from '@sapphire/snowflake';
import FlakeId from 'flake-idgen';
import { Snowflake } from 'nodejs-snowflake';
import { Snowflakes } from './snowflakes.mjs';

const [host, rounds, n] = process.argv.slice(2);
const ids = await Snowflakes.open({ host, user: 'postgres', database: 'postgres' }, 'bench JavaScript', 3600);
const flake = new FlakeId({ worker: 1, datacenter: 1 });
const snowflake = new Snowflake({ custom_epoch: Date.UTC(2023, 0), instance_id: 1 });
const sapphire = new Sapphire(Date.UTC(2023, 0));
const timed = {
	'next()': () => ids.next(),
	'randomUUID()': () => randomUUID(),
	'flake-idgen': () => {
		try {
			return flake.next();
		} catch {
			return null;        // a full millisecond
		}
	},
	'nodejs-snowflake': () => snowflake.getUniqueID(),
	'@sapphire/snowflake': () => sapphire.generate(),
};

for (let round = 0; round < rounds; round++) {
	for (const [name, call] of Object.entries(timed)) {
		const start = process.hrtime.bigint();
		for (let i = 0; i < n; i++) call();
		console.log(`JavaScript, ${name}\t${Number(process.hrtime.bigint() - start) / n}`);
	}
	const start = process.hrtime.bigint();
	ids.nextMany(Number(n));
	console.log(`JavaScript, nextMany()\t${Number(process.hrtime.bigint() - start) / n}`);
}
await ids.close();
process.exit(0);
