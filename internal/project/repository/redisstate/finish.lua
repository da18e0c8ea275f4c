-- In front of every operation's own file: what the operations share. Each reads the project once, writes what it changes
-- of it with one HSET (a script that fails half-way would count and not say so), and ends in answer().
-- KEYS: the hash, the counted items, the failed ones of them, the owner, the projects we count.
-- ARGV[1]: the project's id; the rest is the operation's.
-- Answers {0} when the project is not there, else {1, status, total, done, errors, crossed, unsignalled, refused, owner}.
local LIFE = 604800 -- seconds
local hash, items, failed, ownerkey, open = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

-- What is missing, not a whole number, or more than a Lua number holds exactly reads as 0.
local function number(text)
  if text and string.find(text, '^%d+$') then
    local n = tonumber(text)
    if n and n <= 9007199254740991 then
      return n
    end
  end
  return 0
end

local function decimal(n)
  return string.format('%d', n)
end

local stored = redis.call('HMGET', hash, 'status', 'total', 'done', 'errors')
-- A hash that a neighbour has begun may have none of our fields yet.
local found = stored[1] or stored[2] or stored[3] or stored[4] or redis.call('EXISTS', hash) == 1
local status = stored[1] or ''
local total, done, errors = number(stored[2]), number(stored[3]), number(stored[4])

local function final()
  return status == 'DONE' or status == 'FAILED'
end

-- Writes fields and values, and DONE with them when that crosses the finish line. The line is not drawn while items are
-- still being found, and is crossed from a status we do not know as well.
local function store(changes)
  local crossed = total > 0 and done >= total and status ~= 'CRAWLING' and not final()
  if crossed then
    status = 'DONE'
    changes[#changes + 1] = 'status'
    changes[#changes + 1] = status
  end
  if #changes > 0 then
    redis.call('HSET', hash, unpack(changes))
  end
  return crossed
end

-- Lets the life of every key begin anew; answers the owner. The sets never die before the hash: a redelivered item
-- would count twice.
local function refresh()
  redis.call('EXPIRE', hash, LIFE)
  redis.call('EXPIRE', items, LIFE)
  redis.call('EXPIRE', failed, LIFE)
  return redis.call('GETEX', ownerkey, 'EX', LIFE)
end

-- Notes by the server's clock, in milliseconds, when a project that we count was last touched. With 'XX' it does not
-- become one.
local function touch(...)
  local now = redis.call('TIME')
  local arguments = {...}
  arguments[#arguments + 1] = string.format('%s%03d', now[1], math.floor(tonumber(now[2]) / 1000))
  arguments[#arguments + 1] = ARGV[1]
  redis.call('ZADD', open, unpack(arguments))
end

-- Unsignalled: done, and still among the projects that we count; whoever announces it takes it out.
local function answer(crossed, refused, owner)
  local unsignalled = status == 'DONE' and redis.call('ZSCORE', open, ARGV[1])
  if status == 'FAILED' then
    redis.call('ZREM', open, ARGV[1])
  end
  return {1, status, total, done, errors, crossed and 1 or 0, unsignalled and 1 or 0, refused and 1 or 0, owner or ''}
end

