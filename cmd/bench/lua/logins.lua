-- Logins of all accounts in turn. The arguments: how many accounts, and the password. After
-- a 503 comes a short rest, whatever Retry-After says: wrk does not tell whose it was, so
-- that the next connection has it.
counted, ok, refused, wrong = true, 0, 0, 0
local logins, n, rests = {}, 0, 0

function init(args)
  wrk.headers["Content-Type"] = "application/json"
  for i = 1, args[1] do
    local body = string.format('{"email":"person%06d@example.com","password":"%s"}', i, args[2])
    logins[i] = wrk.format("POST", nil, nil, body)
  end
  n = number * 31
end

function request()
  n = n + 1
  return logins[n % #logins + 1]
end

function response(status)
  if status == 200 then
    ok = ok + 1
  elseif status == 503 then
    refused = refused + 1
    rests = rests + 1
  else
    wrong = wrong + 1
  end
end

function delay()
  if rests == 0 then
    return 0
  end
  rests = rests - 1
  return math.random(50, 150)
end
