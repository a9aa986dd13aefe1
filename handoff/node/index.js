// Hands telemetry from a function over to Slipstream's extension without
// keeping the function waiting.
//
//   const client = new (require('slipstream-handoff').Client)();
//   await client.post('traces', payload);  // HTTP: when it is done, the extension has it
//   client.write('traces', payload);       // a file: the extension takes it later
//   await client.send('traces', payload);  // the bytes through a Unix socket
//
// A payload is the protobuf of one OTLP Export{Logs,Trace,Metrics}ServiceRequest,
// in a Buffer. post waits 50 ms at most, send 5 ms; then they write a file.
// Node cannot pass descriptors, so send moves the bytes themselves; bench/handoff
// shows that a file costs the function less. No dependencies.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const net = require('net');
const path = require('path');

const MAX_BODY = 16 << 20;
const SIGNALS = Object.assign(Object.create(null), { logs: 1, traces: 2, metrics: 3 });
const HEADER_BYTES = 24; // intake/handoff/message.go explains it
const WANT_ANSWER = 1;
const IS_ANSWER = 2;
const TAKEN = 0;
const REFUSED = 3;
const MAX_FILES = 10000; // of the directory, when nobody takes the files
const MAX_TOTAL = 256 << 20;
const CHECK_FILES = 256; // it is looked through after so many
const CHECK_BYTES = 32 << 20;

/** The extension has looked at the payload and does not take it. */
class Refused extends Error {}

/** A bound has passed. */
class Late extends Error {}

/** Hands payloads over. */
class Client {
  constructor(options = {}) {
    const {
      http: address = '127.0.0.1:4318', directory = '/tmp/slipstream/handoff',
      path: socket = '/tmp/slipstream/stream.sock',
      httpBound = 50, sendBound = 5, rest = 1000, // milliseconds
    } = options;
    const colon = address.lastIndexOf(':');
    this.host = address.slice(0, colon);
    this.port = Number(address.slice(colon + 1));
    Object.assign(this, { directory, socket, httpBound, sendBound, rest });
    this.stats = { http: 0, file: 0, ipc: 0, fallbacks: 0, timeouts: 0, refused: 0, failed: 0 };
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 4, noDelay: true });
    this.prefix = ((crypto.randomBytes(4).readUInt32BE() | 0x80000000) >>> 0).toString(16);
    this.last = 0;
    this.resting = { http: 0, ipc: 0 };
    this.idle = []; // connections to the socket
    this.files = 0;
    this.bytes = 0;
    this.full = false;
  }

  /** By HTTP; when it resolves, the payload survives the extension's death. */
  post(signal, body) {
    return this.hand(signal, body, 'http', (id) => this.request(id, signal, body));
  }

  /** Through the Unix socket, acknowledged. */
  send(signal, body) {
    return this.hand(signal, body, 'ipc', (id) => this.stream(id, signal, body));
  }

  /** As a file, which the extension takes when the function has answered. It throws if it cannot. */
  write(signal, body) {
    this.check(signal, body);
    this.writeFile(this.id(), signal, body);
  }

  /** Closes the connections. */
  close() {
    this.agent.destroy();
    for (const connection of this.idle.splice(0)) connection.destroy();
  }

  id() {
    this.last = (this.last + 1) >>> 0;
    return this.prefix + this.last.toString(16).padStart(8, '0');
  }

  check(signal, body) {
    let problem;
    if (!SIGNALS[signal]) problem = `no signal is called ${signal} (use logs, traces or metrics)`;
    else if (body.length > MAX_BODY) problem = `${body.length} bytes, at most ${MAX_BODY} (split the request)`;
    if (problem) {
      this.stats.failed++;
      throw new Error(`hand over ${signal}: ${problem}`);
    }
  }

  // hand tries a way within its bound, else writes a file under the same id.
  async hand(signal, body, way, attempt) {
    this.check(signal, body);
    const id = this.id();
    if (performance.now() >= this.resting[way]) {
      try {
        await attempt(id);
        this.stats[way]++;
        return;
      } catch (error) {
        if (error instanceof Refused) {
          this.stats.refused++;
          throw error;
        }
        if (error instanceof Late) {
          this.stats.timeouts++;
          this.resting[way] = performance.now() + this.rest;
        }
      }
    }
    this.writeFile(id, signal, body);
    this.stats.fallbacks++;
  }

  // request posts; a connection that was closed meanwhile is tried again on a new one.
  request(id, signal, body) {
    return new Promise((resolve, reject) => {
      let current;
      const timer = setTimeout(() => {
        reject(new Late('the bound has passed'));
        current.destroy();
      }, this.httpBound);
      const settle = (end, value) => {
        clearTimeout(timer);
        end(value);
      };
      const once = () => {
        const request = http.request({
          host: this.host, port: this.port, agent: this.agent, method: 'POST', path: `/v1/${signal}`,
          headers: {
            'Content-Type': 'application/x-protobuf', 'Content-Length': body.length, 'Slipstream-Id': id,
          },
        }, (response) => {
          response.resume(); // else the connection is not used again
          response.on('error', () => {}); // the status counts
          const status = response.statusCode;
          if (status === 200) settle(resolve);
          else if (status === 400 || status === 413 || status === 415) {
            settle(reject, new Refused(`hand over ${signal}: status ${status}`));
          } else settle(reject, new Error(`hand over ${signal}: status ${status}`));
        });
        current = request;
        request.on('error', (error) => {
          const gone = error.code === 'ECONNRESET' || error.code === 'EPIPE';
          if (request.reusedSocket && gone) once();
          else settle(reject, error);
        });
        request.end(body);
      };
      once();
    });
  }

  // stream sends a header and the bytes, and waits for the answer.
  stream(id, signal, body) {
    const header = Buffer.alloc(HEADER_BYTES);
    header.write('SLH\x01', 'latin1');
    header[4] = SIGNALS[signal];
    header[5] = WANT_ANSWER;
    header.writeBigUInt64LE(BigInt('0x' + id), 8);
    header.writeBigUInt64LE(BigInt(body.length), 16);
    return new Promise((resolve, reject) => {
      let connection;
      let used;
      const listeners = {
        data: (answer) => {
          const whole = answer.length === HEADER_BYTES && answer[5] === IS_ANSWER &&
            answer.compare(header, 8, 16, 8, 16) === 0;
          const status = whole ? answer[6] : -1;
          if (status === TAKEN) settle(resolve, undefined, true);
          else if (status === REFUSED) settle(reject, new Refused(`hand over ${signal}: refused`), false);
          else settle(reject, new Error(whole ? 'the extension has no room' : 'not an answer'), false);
        },
        error: (error) => { connection.failure = error; }, // close follows
        close: () => {
          detach();
          if (used) once();
          else settle(reject, connection.failure || new Error('gone without an answer'), false);
        },
      };
      const detach = () => {
        for (const [name, listener] of Object.entries(listeners)) connection.off(name, listener);
        connection.on('error', () => {}); // whatever it is, it has been settled
      };
      const timer = setTimeout(() => settle(reject, new Late('the bound has passed'), false), this.sendBound);
      const settle = (end, value, keep) => {
        clearTimeout(timer);
        detach();
        if (keep && this.idle.length < 4 && !connection.destroyed) {
          connection.unref();
          this.idle.push(connection);
        } else connection.destroy();
        end(value);
      };
      const once = () => {
        do connection = this.idle.pop(); while (connection && connection.destroyed);
        used = connection !== undefined;
        if (used) connection.removeAllListeners('error').ref();
        else connection = net.connect(this.socket);
        for (const [name, listener] of Object.entries(listeners)) connection.on(name, listener);
        connection.cork();
        connection.write(header);
        connection.write(body);
        connection.uncork();
      };
      once();
    });
  }

  writeFile(id, signal, body) {
    const name = `${id}.${signal}`;
    const temporary = path.join(this.directory, `${name}.tmp`);
    try {
      this.room(body.length);
      const write = () => fs.writeFileSync(temporary, body, { flag: 'wx', mode: 0o600 });
      try {
        write();
      } catch (error) {
        if (error.code !== 'ENOENT') throw error;
        fs.mkdirSync(this.directory, { recursive: true, mode: 0o700 }); // the extension is not there yet
        write();
      }
      const nanoseconds = String(Date.now()).padStart(13, '0') + '000000';
      fs.renameSync(temporary, path.join(this.directory, `${nanoseconds}-${name}`));
    } catch (error) {
      this.stats.failed++;
      fs.rmSync(temporary, { force: true });
      throw new Error(`hand over ${signal} as a file: ${error.message} (is the disk full?)`);
    }
    this.stats.file++;
  }

  // room looks from time to time whether the directory still gets emptied.
  room(size) {
    this.files++;
    this.bytes += size;
    if (this.full || this.files >= CHECK_FILES || this.bytes >= CHECK_BYTES) {
      this.files = this.bytes = 0;
      let count = 0;
      let total = 0;
      for (const name of fs.existsSync(this.directory) ? fs.readdirSync(this.directory) : []) {
        const info = fs.statSync(path.join(this.directory, name), { throwIfNoEntry: false });
        count++;
        total += info ? info.size : 0;
      }
      this.full = count >= MAX_FILES || total >= MAX_TOTAL;
    }
    if (this.full) throw new Error(`${this.directory} is full (is the extension there?)`);
  }
}

module.exports = { Client, Refused, MAX_BODY };
