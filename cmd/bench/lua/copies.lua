-- Runs in Redis: copies each key so often (ARGV[1]) under other names of the same length. It
-- changes bytes before the last, into some that no key of ours has.
local made = 0
for _, key in ipairs(KEYS) do
  for n = 1, tonumber(ARGV[1]) do
    made = made + redis.call('COPY', key, key:sub(1, -4) .. '~' .. string.char(64 + n) .. key:sub(-1))
  end
end
return made
