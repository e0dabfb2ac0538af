-- Requests with the cookies in a file, a line each, in turn. The argument: the file.
local requests, n = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    wrk.headers["Cookie"] = line
    requests[#requests + 1] = wrk.format()
  end
  n = number * 7919
end

function request()
  n = n + 1
  return requests[n % #requests + 1]
end
