// Stands in for the runtime client's part in C++, which npm would have to build:
// it hands answers to the Runtime API. Everything that writes lines is AWS's own.
'use strict'

const http = require('http')
const Module = require('module')

const post = (path, body) => {
  const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':')
  http.request({ host, port, method: 'POST', path: `/2018-06-01/runtime/invocation/${path}` }).end(body)
}

Module._resolveFilename = ((original) => (name, ...rest) =>
  name.endsWith('rapid-client.node') ? name : original(name, ...rest))(Module._resolveFilename)

Module._extensions['.node'] = (module) => {
  module.exports = {
    initializeClient () {},
    done: (id, body) => post(`${id}/response`, body),
    error: (id, body) => post(`${id}/error`, body)
  }
}
