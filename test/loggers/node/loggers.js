// Writes with one of Node's loggers, as its own README shows it: a line at each
// level, with a field.
'use strict'

const message = (level) => `a ${level} "line"`

const loggers = {
  pino () {
    const logger = require('pino')({ level: 'trace', customLevels: { notice: 35 } })
    for (const level of ['trace', 'debug', 'info', 'notice', 'warn', 'error', 'fatal']) {
      logger[level]({ order: 42 }, message(level))
    }
  },
  winston () {
    const winston = require('winston')
    const { combine, timestamp, json } = winston.format
    const logger = winston.createLogger({
      level: 'silly', format: combine(timestamp(), json()), transports: [new winston.transports.Console()]
    })
    for (const level of ['silly', 'debug', 'verbose', 'http', 'info', 'warn', 'error']) {
      logger[level](message(level), { order: 42 })
    }
  },
  'winston-simple' () {
    const winston = require('winston')
    const logger = winston.createLogger({
      level: 'debug', format: winston.format.simple(), transports: [new winston.transports.Console()]
    })
    for (const level of ['debug', 'info', 'warn', 'error']) {
      logger[level](message(level), { order: 42 })
    }
  },
  bunyan () {
    const logger = require('bunyan').createLogger({ name: 'orders', level: 'trace' })
    for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal']) {
      logger[level]({ order: 42 }, message(level))
    }
  },
  powertools () {
    const { Logger } = require('@aws-lambda-powertools/logger')
    const logger = new Logger({ serviceName: 'orders', logLevel: 'TRACE' })
    for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'critical']) {
      logger[level](message(level), { order: 42 })
    }
  }
}

loggers[process.argv[2]]()
