// The function's side of bench/handoff, in Node: see client/main.go.
'use strict';

const crypto = require('crypto');
const path = require('path');
const readline = require('readline');
const { crc32 } = require('zlib');
const { Client } = require('../../handoff/node');

const SIZE = 1 << 20;
const [way, address, directory, folder] = process.argv.slice(2);
const client = new Client({ http: address, directory, path: path.join(folder, 'stream.sock'), rest: 0 });
const body = crypto.randomBytes(SIZE);
const hand = {
  http: () => client.post('traces', body),
  file: () => client.write('traces', body),
  file_tmpfs: () => client.write('traces', body),
  stream: () => client.send('traces', body),
}[way];

async function main() {
  let n = 0n;
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    n += 1n;
    body.writeBigUInt64LE(n);
    const before = process.cpuUsage();
    const begin = process.hrtime.bigint();
    await hand();
    const took = process.hrtime.bigint() - begin;
    const { user, system } = process.cpuUsage(before); // microseconds
    const { http, file, ipc } = client.stats;
    console.log(`${took} ${(user + system) * 1000} ${crc32(body)} ${http} ${file} ${ipc}`);
  }
  client.close();
}

main();
