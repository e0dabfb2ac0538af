-- The arguments are the method and the body of all requests. Prints what was measured as one line of
-- JSON, with times in milliseconds. The figures that wrk prints itself are rounded.
function init(args)
  wrk.method = args[1]
  if args[2] ~= "" then
    wrk.body = args[2]
  end
end

function done(summary, latency)
  local e = summary.errors

  io.write(string.format(
    '\n{"count":%d,"errors":%d,"bytes":%d,"seconds":%f,"p50":%f,"p99":%f}\n',
    summary.requests, e.status + e.connect + e.read + e.write + e.timeout, summary.bytes,
    summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
