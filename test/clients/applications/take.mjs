// Takes IDs until SIGTERM, as take.py does, but without threads and without a fork.
import fs from 'node:fs';
import { Snowflakes } from './snowflakes.mjs';

const [name, holder, seconds, , pause] = process.argv.slice(2);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const parent = process.ppid;
let going = true;
let refused = 0;
let ids = null;

process.on('SIGTERM', () => { going = false; });
while (going && !ids) {
	ids = await Snowflakes.open({}, holder, Number(seconds)).catch(() => null);
	if (ids) break;
	refused++;
	await sleep(200);
}
for (let turn = 0; going && process.ppid === parent; turn++) {
	const lines = [];

	try {
		if (turn % 2) lines.push(...ids.nextMany(20));
		else for (let i = 0; i < 20; i++) lines.push(ids.next());
	} catch {
		refused++;
	}
	fs.appendFileSync(`${name}.0`, lines.map((id) => `${id}\n`).join(''));
	await sleep(Number(pause));
}
await ids?.close();
console.log(`refused ${refused}`);
process.exit(0);
