// Takes IDs until it is asked to end by SIGTERM, some thousand a second; usage:
//
//	node take.mjs FILE HOLDER SECONDS
//
// The IDs go to the file, in the order in which they were made.  Then prints how
// many leases there were, and how often there was no ID.
import fs from 'node:fs';
import { Snowflakes } from './lease.mjs';

const [file, holder, seconds] = process.argv.slice(2);
const snowflakes = new Snowflakes({}, holder, Number(seconds));
let going = true;
let refused = 0;

process.on('SIGTERM', () => { going = false; });
await snowflakes.start();
while (going) {
	let ids = '';
	try {
		for (let i = 0; i < 20; i++) ids += `${snowflakes.next()}\n`;
	} catch {
		refused++;
	}
	fs.appendFileSync(file, ids);
	await new Promise((resolve) => setTimeout(resolve, 5));
}
await snowflakes.stop();
console.log(`leases ${snowflakes.leases}, refused ${refused}`);
process.exit(0);
