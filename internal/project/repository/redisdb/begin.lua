-- Every operation is one script: begin.lua, its own file, ended.lua, finish.lua and reply.lua. This part reads the project.
--
-- KEYS: the hash, the counted items, the failed ones of them, the owner, the open projects.
-- ARGV[1]: the project's id; the rest belongs to the operation.
--
-- The scripts are straight-line code, without functions and tables on the path of a single item: Redis builds them
-- anew for every call, which cost more than the counting.
local hash, items, failed, ownerkey, open = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local LIFE = 604800 -- seconds
-- A mark lets the sets live MOMENT longer than the other keys, too little for TTL to show. While they have more than
-- LIFE left, the project was just marked and is an open one, and a mark need only count. Whatever removes the project
-- from the open ones ends the moment (PEXPIRE … LT).
local MOMENT = 400 -- milliseconds

local fields = redis.call('HMGET', hash, 'status', 'total', 'done', 'errors')
local status, total, done, errors = fields[1] or '', fields[2], fields[3], fields[4]
-- A hash that another service created may have none of our fields yet.
local found = fields[1] or total or done or errors or redis.call('EXISTS', hash) == 1

-- A field that is missing, no whole number, or more than a Lua number holds exactly counts as 0. The first test is a
-- fast path for valid fields.
if not (total and done and errors and string.find(total .. ' ' .. done .. ' ' .. errors, '^%d+ %d+ %d+$')
    and #total < 17 and #done < 17 and #errors < 17) then
  local numbers = {}
  for i = 2, 4 do
    numbers[i] = fields[i] and string.find(fields[i], '^%d+$') and tonumber(fields[i]) or 0
  end
  total, done, errors = numbers[2], numbers[3], numbers[4]
end
local MOST = 9007199254740991
total, done, errors = total + 0, done + 0, errors + 0
if total > MOST then total = 0 end
if done > MOST then done = 0 end
if errors > MOST then errors = 0 end

-- The operation sets these for finish.lua.
local refused = false -- the project is DONE or FAILED and was not changed
local refresh = false -- renew the lifetime of every key
local touch = false   -- 'count': make it an open project, touched now; 'again': touch it if it is one
local owner = false   -- the user id, if the operation has read it

