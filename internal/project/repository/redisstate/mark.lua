-- Counts items. ARGV[2] how many of those that follow are ok; these come first, the failed ones after them. No id is there
-- twice, and there are 1,000 at most: unpack takes a few thousand.
if not found then
  return {0}
end
local counted = not final()
local before_done, before_errors = done, errors
local last = 2 + tonumber(ARGV[2])

if last > 2 then
  local new = redis.call('SADD', items, unpack(ARGV, 3, last))
  done = done + new
  if new < last - 2 then -- some are known: those that had failed are repaired
    errors = math.max(0, errors - redis.call('SREM', failed, unpack(ARGV, 3, last)))
  end
end

if last < #ARGV then
  -- Only a new one fails: known and ok, ok wins; known and failed, it has been counted.
  local known = redis.call('SMISMEMBER', items, unpack(ARGV, last + 1))
  local new = {}
  for i = 1, #known do
    if known[i] == 0 then
      new[#new + 1] = ARGV[last + i]
    end
  end
  if #new > 0 then
    redis.call('SADD', items, unpack(new))
    redis.call('SADD', failed, unpack(new))
    done, errors = done + #new, errors + #new
  end
end

local changes = {}
if done ~= before_done then
  changes = {'done', decimal(done)}
end
if errors ~= before_errors then
  changes[#changes + 1] = 'errors'
  changes[#changes + 1] = decimal(errors)
end
local crossed = store(changes)
local owner = refresh()
if counted then
  touch()
elseif status == 'DONE' then
  touch('XX')
end
return answer(crossed, false, owner)
