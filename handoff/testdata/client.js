// Hands over what its input says: a line is a way, a name and a size.
'use strict';

const readline = require('readline');
const { Client } = require('../node');

const [address, directory, , path, , bound] = process.argv.slice(2);
const bounds = Number(bound) ? { httpBound: Number(bound), sendBound: Number(bound) } : {};
const client = new Client({ http: address, directory, path, rest: 0, ...bounds });

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [way, name, size] = line.split(' ');
    const body = Buffer.from(`${name} `.padEnd(Number(size), 'x'));
    let failure = '';
    try {
      await client[way]('logs', body);
    } catch (error) {
      failure = error.message;
    }
    const { http, file, ipc, fallbacks, timeouts, refused, failed } = client.stats;
    console.log([http, file, ipc, fallbacks, timeouts, refused, failed].join(' '), failure);
  }
  client.close();
}

main();
