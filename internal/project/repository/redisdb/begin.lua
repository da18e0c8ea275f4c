-- Every operation is begin.lua, its own file and finish.lua, in one script. This one reads the project.
-- KEYS: the hash, the counted items, the failed ones of them, the owner, the projects we count. ARGV[1]: the project's
-- id; the rest is the operation's.
-- All of it is written straight on, without functions and tables where one item is counted: Redis builds them anew with
-- every call, and that cost more than the counting.
local hash, items, failed, ownerkey, open = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local LIFE = 604800 -- seconds
-- A mark lets the sets live a moment longer than everything else does, too little for TTL to show. As long as they have more
-- than LIFE left, the project has just been marked, is one that we count, and nothing but the counting needs to be done.
-- Whatever takes it out of the projects we count ends that moment (PEXPIRE … LT).
local MOMENT = 400 -- milliseconds

local fields = redis.call('HMGET', hash, 'status', 'total', 'done', 'errors')
local status, total, done, errors = fields[1] or '', fields[2], fields[3], fields[4]
-- A hash that a neighbour has begun may have none of our fields yet.
local found = fields[1] or total or done or errors or redis.call('EXISTS', hash) == 1

-- What is missing, not a whole number, or more than a Lua number holds exactly reads as 0. The first test spares good
-- fields one each.
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

-- What the operation tells finish.lua.
local refused = false -- the project is DONE or FAILED and stays as it is
local refresh = false -- the life of every key begins anew
local touch = false   -- 'count': it is one that we count, touched now; 'again': touched now if it is one
local owner = false   -- the user id, where the operation knows it

