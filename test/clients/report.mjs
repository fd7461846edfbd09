// Goes after the program of a page: what it got, a line each, for
// test/all/clients.pl to look at.
console.log('type', typeof inserted);
console.log('inserted', `${inserted}`);
console.log('read', `${read}`);
console.log('known', `${known}`);
console.log('block', block.join(' '));
