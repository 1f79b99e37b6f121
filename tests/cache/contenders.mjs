// The caches that are compared, each a process before the suite's own origin.

import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname)
const STARTS_WITHIN_MS = 20_000

export const contenders = {
  mainstay: {
    version: () => firstLine(process.env.MAINSTAY_BIN, ['--version']),
    command: (at, stage) => [process.env.MAINSTAY_BIN, '-c', filled('mainstay.yaml', at, stage)]
  },
  nginx: {
    version: () => firstLine('nginx', ['-v']),
    command: (at, stage) => ['nginx', '-p', at, '-c', filled('nginx.conf', at, stage)]
  },
  varnish: {
    version: () => firstLine('varnishd', ['-V']),
    // The parameters with which the suite's author publishes it: nothing is kept that does not ask for it, but long for validation.
    command: (at, stage) => [
      'varnishd', '-F', '-j', 'none', '-n', path.join(at, 'work'), '-a', `127.0.0.1:${stage.port}`, '-f', filled('varnish.vcl', at, stage),
      '-p', 'default_ttl=0', '-p', 'default_grace=0', '-p', 'default_keep=3600', '-s', 'malloc,64M'
    ]
  }
}

// Starts a process and waits until it accepts connections.
export async function start (command, port, env = process.env, cwd = undefined) {
  const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'ignore', 'inherit'], env, cwd })
  const ended = new Promise(resolve => child.once('exit', resolve))
  const until = Date.now() + STARTS_WITHIN_MS
  while (!(await accepts(port))) {
    if (child.exitCode !== null || Date.now() > until) throw new Error(`${command[0]} does not listen`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  return { child, ended, stop: async () => { child.kill('SIGTERM'); await ended } }
}

export async function freePort () {
  const server = net.createServer()
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise(resolve => server.close(resolve))
  return port
}

function accepts (port) {
  return new Promise(resolve => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); resolve(true) })
    socket.once('error', () => resolve(false))
  })
}

// The configuration with this run's ports and directory, written there.
function filled (name, at, stage) {
  const text = fs.readFileSync(path.join(here, name), 'utf8')
  const file = path.join(at, name)
  const values = { ...stage, directory: at }
  fs.writeFileSync(file, text.replace(/\$(port|origin|directory)/g, (_, name) => values[name]))
  return file
}

function firstLine (program, args) {
  const { stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  return error ? undefined : `${stdout}${stderr}`.split('\n')[0]
}
