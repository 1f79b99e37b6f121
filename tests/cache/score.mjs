// Runs the suite against each cache in turn and counts: node score.mjs SUITE [--only NAME,…] [--id TEST]

import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

import { contenders, freePort, start } from './contenders.mjs'
import { accepted, outdated } from './accepted.mjs'

const suite = path.resolve(process.argv[2])
const option = name => { const at = process.argv.indexOf(name); return at < 0 ? undefined : process.argv[at + 1] }
const load = file => import(pathToFileURL(path.join(suite, file)))
// The suite's repository has moved its engine since the package was published.
const moved = fs.existsSync(path.join(suite, 'test-engine'))
const engine = moved ? 'test-engine/' : ''
const { default: groups } = await load('tests/index.mjs')
const { determineTestResult } = await load(moved ? 'test-engine/lib/results.mjs' : 'lib/display.mjs')

const KINDS = ['required', 'optimal', 'check']
const kindOf = test => test.kind ?? 'required'
const excused = moved ? accepted : { ...accepted, ...outdated }
// Those of a browser and of a CDN (RFC 9213) are about other caches.
const tests = groups.flatMap(group => group.tests.filter(test => !test.browser_only && !test.cdn_only).map(test => ({ ...test, group: group.name })))

const scores = {}
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'cache-tests-'))
const origin = await freePort()
const server = await start(['node', `${engine}server/server.mjs`], origin, suiteEnv({ protocol: 'http', port: `${origin}`, pidfile: path.join(directory, 'origin.pid') }), suite)
try {
  for (const name of (option('--only') ?? Object.keys(contenders).join(',')).split(',')) {
    const version = contenders[name].version()
    if (version === undefined) { console.error(`${name} is not there`); continue }
    scores[name] = { version, results: await judge(name) }
  }
} finally {
  await server.stop()
  fs.rmSync(directory, { recursive: true, force: true })
}
if (!option('--id')) report()

async function judge (name) {
  const at = path.join(directory, name)
  fs.mkdirSync(at, { mode: 0o755 })
  fs.chmodSync(directory, 0o755)
  const port = await freePort()
  const began = Date.now()
  const proxy = await start(contenders[name].command(at, { port, origin }), port)
  try {
    const output = await run(suiteEnv({ base: `http://127.0.0.1:${port}`, id: option('--id') ?? '' }))
    if (option('--id')) { console.log(`${name}\n${output}`); return {} }
    const raw = JSON.parse(output)
    console.error(`${name}: ${Object.keys(raw).length} results in ${Math.round((Date.now() - began) / 1000)} s`)
    const results = Object.fromEntries(tests.map(test => [test.id, { verdict: verdict(test, raw), why: raw[test.id]?.[1] }]))
    await again(results, port)
    return results
  } finally {
    await proxy.stop()
  }
}

// The suite runs a hundred tests at a time, and its writes make a cache forget what others are about to read; a busy machine is
// late. So what is required and failed is run once more, alone.
async function again (results, port) {
  for (const { id } of tests.filter(test => kindOf(test) === 'required' && results[test.id].verdict !== 'pass' && !(test.id in excused))) {
    const output = await run(suiteEnv({ base: `http://127.0.0.1:${port}`, id }))
    if (output.trimEnd().split('\n').at(-1).startsWith('✅')) results[id].verdict = 'pass'
  }
}

// The suite takes its parameters from npm's environment; only there is an empty one another than none.
function suiteEnv (values) {
  const named = Object.entries(values).map(([key, value]) => [`npm_package_config_${key}`, value])
  return { ...process.env, ...Object.fromEntries(named) }
}

function run (env) {
  const child = spawn('node', ['--no-warnings', `${engine}cli.mjs`], { cwd: suite, env, stdio: ['ignore', 'pipe', 'inherit'] })
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout.on('data', data => { text += data })
    child.once('close', code => code === 0 ? resolve(text) : reject(new Error(`the suite ended with ${code}`)))
  })
}

// `pass`, `fail`, or `skip` where the suite itself says that a test it builds on, or its preparation, went wrong.
function verdict (test, raw) {
  const [, , symbol] = determineTestResult(groups, test.id, raw)
  return { '✅': 'pass', Y: 'pass', '⛔️': 'fail', '⚠️': 'fail', N: 'fail' }[symbol] ?? 'skip'
}

function report () {
  const names = Object.keys(scores)
  const count = (name, kind, group) => {
    const of = tests.filter(test => kindOf(test) === kind && (!group || test.group === group))
    const passed = of.filter(test => scores[name].results[test.id].verdict === 'pass')
    return of.length ? `${passed.length}/${of.length}` : '–'
  }
  for (const name of names) console.log(`${name}: ${scores[name].version}`)
  console.log(`\n| passed of all |${KINDS.map(kind => ` ${kind} |`).join('')}\n|---|${KINDS.map(() => '---:|').join('')}`)
  for (const name of names) console.log(`| ${name} |${KINDS.map(kind => ` ${count(name, kind)} |`).join('')}`)
  console.log(`\n| required, optimal, check |${names.map(name => ` ${name} |`).join('')}\n|---|${names.map(() => '---|').join('')}`)
  for (const { name: group } of groups.filter(({ name }) => tests.some(({ group }) => group === name))) {
    console.log(`| ${group} |${names.map(name => ` ${KINDS.map(kind => count(name, kind, group)).join(', ')} |`).join('')}`)
  }
  const mine = scores.mainstay?.results
  if (!mine) return
  const open = kind => tests.filter(test => kindOf(test) === kind && mine[test.id].verdict !== 'pass')
  for (const kind of KINDS) {
    console.log(`\nmainstay, ${kind}, not passed:`)
    for (const { id } of open(kind)) console.log(`  ${id} (${mine[id].verdict}): ${excused[id] ?? mine[id].why ?? ''}`)
  }
  const failed = open('required').filter(({ id }) => !(id in excused))
  const stale = Object.keys(excused).filter(id => mine[id]?.verdict === 'pass')
  if (stale.length) console.log(`\npassed, though accepted.mjs excuses them: ${stale.join(', ')}`)
  if (failed.length) console.log(`\nFAILED: ${failed.map(({ id }) => id).join(', ')}`)
  process.exitCode = failed.length ? 1 : 0
}
