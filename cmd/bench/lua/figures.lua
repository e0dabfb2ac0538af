-- The end of every script: what wrk found, as one line of JSON. What it prints itself is
-- rounded. A script may count the answers 200 and 503; where it does not, any status but
-- a good one is an error.
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function done(summary, latency)
  local e, ok, refused, wrong = summary.errors, 0, 0, 0
  local counted = threads[1]:get("counted")
  for _, thread in ipairs(threads) do
    if counted then
      ok = ok + thread:get("ok")
      refused = refused + thread:get("refused")
      wrong = wrong + thread:get("wrong")
    end
  end
  if not counted then
    ok, wrong = summary.requests - e.status, e.status
  end
  io.write(string.format(
    '{"ok":%d,"refused":%d,"wrong":%d,"microseconds":%d,"p50":%d,"p99":%d}\n',
    ok, refused, wrong + e.connect + e.read + e.write + e.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)))
end
