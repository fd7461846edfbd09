// Appended to the program of a page: prints what it got, a line each, for
// test/all/clients.pl to check.
console.log('type', typeof inserted);
console.log('inserted', `${inserted}`);
console.log('read', `${read}`);
console.log('known', `${known}`);
console.log('block', block.join(' '));
