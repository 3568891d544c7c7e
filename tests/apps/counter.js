// SPDX-License-Identifier: LGPL-2.1-or-later
// Numbers go to a worker thread and back, compiled code checks them, the main thread writes them to a growing file.
const { Worker, isMainThread, parentPort } = require('worker_threads');
const fs = require('fs');

function busy(n) {
	let x = 0;
	for (let i = 0; i < 20000; i++)
		x = (x * 31 + i + n) >>> 0;
	return x;
}

if (isMainThread) {
	const out = fs.openSync(process.argv[2], 'w');
	const worker = new Worker(__filename);
	let number = 0;

	worker.on('message', ([n, x]) => {
		if (n !== number || x !== busy(n)) {
			console.error(`${n} ${number}: ${x}`);
			process.exit(3);
		}
		fs.writeSync(out, `${n}\n`);
		setTimeout(() => worker.postMessage(++number), 1);
	});
	worker.postMessage(++number);
} else {
	parentPort.on('message', (n) => parentPort.postMessage([n, busy(n)]));
}
