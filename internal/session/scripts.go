package session

import (
	"fmt"

	"latchkey/internal/redisconn"
)

// scripts are the operations that change sessions. Redis runs a script atomically, so no
// other server and no crash can ever leave a session whose record, tombstone and index
// entry contradict each other.
//
// A script may also access records that it finds in an index. Their keys cannot be passed as
// KEYS, because the caller does not know them, but they are on the same server: they share
// the shard.
//
// A script may run twice, because a lost reply is retried. The second run must return what the
// first one did, and not undo what happened in between. It recognizes the work of the first run by
// an ID that is stored with it: that of the new session, or one that the caller passes. No script
// runs after its request has timed out: see redisconn.Script.
type scripts struct {
	begin           *redisconn.Script
	replace         *redisconn.Script
	touch           *redisconn.Script
	end             *redisconn.Script
	endAll          *redisconn.Script
	list            *redisconn.Script
	startGeneration *redisconn.Script
}

// newScripts returns the scripts. All changes wait for the replicas, so that a failover does
// not undo them, except for touch: it may be lost.
func newScripts(cluster bool) scripts {
	library := fmt.Sprintf(library,
		cluster,
		tombstoneTTL.Milliseconds(),
		replacedTTL.Milliseconds(),
		maxClockSkew.Milliseconds(),
		maxSuccessors)

	durable := func(keys int, lua string) *redisconn.Script {
		return redisconn.NewScript(keys, library+lua).WaitForReplicas()
	}

	return scripts{
		begin:           durable(4, beginLua),
		replace:         durable(5, replaceLua),
		touch:           redisconn.NewScript(2, library+touchLua),
		end:             durable(1, endLua),
		endAll:          durable(2, endAllLua),
		list:            redisconn.NewScript(1, library+listLua),
		startGeneration: durable(1, startGenerationLua),
	}
}

// library contains the functions that the scripts share. The variable micros, Redis's
// time in microseconds, comes from package redisconn.
const library = `
local cluster, tombstoneTTL, replacedTTL, maxClockSkew, maxSuccessors = %t, %d, %d, %d, %d

local function int(n) return string.format('%%.0f', n) end

local function key(kind, id)
  if cluster then id = '{' .. string.sub(id, 1, 2) .. '}' .. string.sub(id, 3) end
  return kind .. id
end

local function indexKey(id, user)
  if cluster then user = '{' .. string.sub(id, 1, 2) .. '}' .. user end
  return 'idx:' .. user
end

-- Returns true if a new generation has started since seen was read.
local function isStale(generation, seen)
  local current = redis.call('GET', generation)
  return current and current ~= seen
end

-- Stores the record of a session that expires in ttl milliseconds, and adds it to the
-- index. Both outlive the session by tombstoneTTL, so that the index has every record.
local function save(id, record, index, ttl)
  local keyTTL = tonumber(ttl) + tombstoneTTL
  redis.call('SET', key('sess:', id), record, 'PX', int(keyTTL))

  redis.call('ZREMRANGEBYSCORE', index, '-inf', int(micros - tombstoneTTL * 1000))
  redis.call('ZADD', index, int(micros + tonumber(ttl) * 1000), id)
  if redis.call('PTTL', index) < keyTTL then redis.call('PEXPIRE', index, int(keyTTL)) end
end

-- Returns true if the TTL of a session's record shows that the session timed out so long ago
-- that every server considers it ended, even a server with a slow clock.
local function surelyTimedOut(id)
  local left = redis.call('PTTL', key('sess:', id))
  return left ~= -1 and left < tombstoneTTL - maxClockSkew
end

-- Returns the current ID of a session that may have been rotated.
local function latest(id)
  for _ = 1, maxSuccessors do
    if redis.call('EXISTS', key('sess:', id)) == 1 then return id end

    local tombstone = redis.call('GET', key('ended:', id)) or ''
    local successor = string.match(tombstone, '^replaced (.+)$')
    if not successor then return id end
    id = successor
  end
  return id
end

-- Deletes a record and leaves a tombstone. If the session was rotated, its successor is
-- ended: a logout must also work if it loses a race against a rotation. Returns true if
-- the session had not surely timed out before, or if the same tombstone already exists:
-- then an earlier run ended the session. Also returns the ID of the session that it ended.
local function finish(id, tombstone)
  id = latest(id)

  local record = redis.pcall('GET', key('sess:', id))
  if not record then return redis.call('GET', key('ended:', id)) == tombstone, id end

  local live = not surelyTimedOut(id)
  redis.call('DEL', key('sess:', id))

  local isReplaced = string.find(tombstone, '^replaced')
  redis.call('SET', key('ended:', id), tombstone, 'PX', isReplaced and replacedTTL or tombstoneTTL)

  local user = type(record) == 'string' and string.match(record, '^user=([^\n]*)')
  if user then redis.call('ZREM', indexKey(id, user), id) end

  return live, id
end
`

// beginLua begins a session, unless the sessions of its user or of all users have been revoked
// since the login started. If the user then has too many sessions, it ends those that would
// expire first. The sessions that the login replaces, the rest of ARGV, are not counted and
// not ended here.
//
// It returns whether the session began, and the IDs of the others that it ended. A second run does not
// know the IDs and returns nil instead.
const beginLua = `
local index, generation, globalGeneration = KEYS[2], KEYS[3], KEYS[4]
local id, record, ttl, seen, seenGlobal, max = unpack(ARGV)
max = tonumber(max)

if isStale(generation, seen) or isStale(globalGeneration, seenGlobal) then return {0, {}} end

-- The session began in an earlier run of this script and has ended since.
if redis.call('EXISTS', key('ended:', id)) == 1 then return {0, {}} end

local ranBefore = redis.call('EXISTS', key('sess:', id)) == 1
save(id, record, index, ttl)
if ranBefore then return {1, false} end
if max == 0 or redis.call('ZCARD', index) <= max then return {1, {}} end

local replaced = {}
for i = 7, #ARGV do
  local sameShard = string.sub(ARGV[i], 1, 2) == string.sub(id, 1, 2)
  if sameShard then replaced[latest(ARGV[i])] = true end
end

local others, count = {}, 0
for _, other in ipairs(redis.call('ZRANGEBYSCORE', index, int(micros), '+inf')) do
  if redis.call('EXISTS', key('sess:', other)) == 0 then
    redis.call('ZREM', index, other)
  elseif not replaced[other] then
    count = count + 1
    if other ~= id then others[#others + 1] = other end
  end
end

local surplus = {}
for i = 1, count - max do
  finish(others[i], 'too_many_sessions')
  surplus[i] = others[i]
end
return {1, surplus}
`

// replaceLua moves a session to a new ID. Of several concurrent calls for one session,
// exactly one succeeds.
//
// It returns rotateDone; rotateLost if the session has ended or was rotated by another call;
// or rotateRevoked if the sessions of all users were revoked since the session began. It
// then ends the session, because RevokeEverything may have scanned past the new ID already.
const replaceLua = `
local oldKey, oldTombstone, index, globalGeneration = KEYS[1], KEYS[3], KEYS[4], KEYS[5]
local old, new, record, ttl, seenGlobal = unpack(ARGV)

if redis.call('EXISTS', oldKey) == 0 then
  local tombstone = redis.call('GET', oldTombstone)
  if tombstone == 'replaced ' .. new then return 1 end
  return tombstone == 'revoked ' .. new and 2 or 0
end

if isStale(globalGeneration, seenGlobal) then
  finish(old, 'revoked ' .. new)
  return 2
end

finish(old, 'replaced ' .. new)
save(new, record, index, ttl)
return 1
`

// touchLua replaces a record, unless it has changed since it was read. An unconditional SET
// would bring back a session that has ended meanwhile, as the idle timeout of scs does. If
// several requests extend a session at the same time, only one of them writes.
//
// It returns whether the new record is stored.
const touchLua = `
local recordKey, index = KEYS[1], KEYS[2]
local id, old, new, ttl = unpack(ARGV)

local current = redis.call('GET', recordKey)
if current ~= old then
  local doneBefore = current == new
  return doneBefore and 1 or 0
end

save(id, new, index, ttl)
return 1
`

// endLua ends a session, or its latest successor. It returns whether that was live, and its ID.
const endLua = `
local id, tombstone = unpack(ARGV)
local live, ended = finish(id, tombstone)

return {live and 1 or 0, ended}
`

// endAllLua ends the sessions of a user except for one to keep, which may have been rotated since
// the request was authenticated. It starts a new generation, so that logins in progress fail. The
// generation contains the caller's ID for this revocation, and the number of sessions that it
// ended.
//
// It skips sessions that surely timed out before, so that their reason stays a timeout. It
// returns the number of live sessions that it ended, and the IDs of all that it ended. A second run
// does not know the IDs and returns nil instead.
const endAllLua = `
local index, generation = KEYS[1], KEYS[2]
local keep, reason, revocation, generationTTL = unpack(ARGV)

local doneBefore = string.match(redis.call('GET', generation) or '', revocation .. ' (%d+)$')
if doneBefore then return {tonumber(doneBefore), false} end

if keep ~= '' then keep = latest(keep) end

local ended, ids = 0, {}
local oldest = int(micros - maxClockSkew * 1000)
local entries = redis.call('ZRANGEBYSCORE', index, oldest, '+inf', 'WITHSCORES')

for i = 1, #entries, 2 do
  local id, expiry = entries[i], tonumber(entries[i + 1])

  if id ~= keep then
    if redis.call('DEL', key('sess:', id)) == 1 then
      redis.call('SET', key('ended:', id), reason, 'PX', tombstoneTTL)
      if expiry > micros then ended = ended + 1 end
      ids[#ids + 1] = id
    end
    redis.call('ZREM', index, id)
  end
end

redis.call('SET', generation, int(micros) .. ' ' .. revocation .. ' ' .. ended, 'PX', generationTTL)
return {ended, ids}
`

// listLua returns the IDs and records of a user's sessions. It removes IDs from the index
// whose record was deleted by hand.
const listLua = `
local index, all = KEYS[1], {}

for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
  local record = redis.pcall('GET', key('sess:', id))

  if type(record) == 'string' then
    all[#all + 1] = id
    all[#all + 1] = record
  elseif not record then
    redis.call('ZREM', index, id)
  end
end

return all
`

// startGenerationLua starts a new generation for all users in a shard.
const startGenerationLua = `
local globalGeneration, ttl = KEYS[1], ARGV[1]

return redis.call('SET', globalGeneration, int(micros), 'PX', ttl)
`
