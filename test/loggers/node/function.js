// A function for Lambda's own runtime client: a line at each level of the
// console, then an exception.
'use strict'

exports.handler = async () => {
  for (const level of ['debug', 'info', 'warn', 'error']) {
    console[level](`a ${level} "line"`)
  }
  console.log('{"level":"warn","message":"a warn in JSON","order":42}')
  throw new RangeError('no stock')
}
