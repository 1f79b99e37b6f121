-- Every request is a new write: no key comes twice, over all threads and runs of one measurement.
local run = os.getenv("BENCH_RUN") or "run"
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

local count = 0
local headers = { ["Content-Type"] = "application/json" }
local body = '{"amount":1999,"currency":"EUR","to":"acct_7"}'

function request()
  count = count + 1
  headers["Idempotency-Key"] = '"' .. run .. "-" .. number .. "-" .. count .. '"'
  return wrk.format("POST", "/payments/new", headers, body)
end
