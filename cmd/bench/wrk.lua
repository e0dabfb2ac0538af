-- Sends the first argument as the body of POST requests, unless it is empty. Prints what was measured
-- as one line of JSON, with times in milliseconds. The figures that wrk prints itself are rounded.
function init(args)
  if args[1] ~= "" then
    wrk.method = "POST"
    wrk.body = args[1]
  end
end

function done(summary, latency)
  local e = summary.errors

  io.write(string.format(
    '\n{"count":%d,"errors":%d,"bytes":%d,"seconds":%f,"p50":%f,"p99":%f}\n',
    summary.requests, e.status + e.connect + e.read + e.write + e.timeout, summary.bytes,
    summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
