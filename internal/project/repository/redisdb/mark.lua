-- Counts items. ARGV[2]: the number of ok items, which follow; the failed items follow them. Ids are unique, and
-- there are at most 1,000: unpack allows a few thousand.
if not found then
  return ''
end
local last = 2 + ARGV[2]
local new, wrong = 0, 0

if last > 2 then
  new = redis.call('SADD', items, unpack(ARGV, 3, last))
  if new < last - 2 then -- some are known: repair those that had failed
    wrong = -redis.call('SREM', failed, unpack(ARGV, 3, last))
  end
end
if last < #ARGV then
  -- Only new items fail. A known item is ok, which stays, or has failed, which was counted.
  local known = redis.call('SMISMEMBER', items, unpack(ARGV, last + 1))
  local bad = {}
  for i = 1, #known do
    if known[i] == 0 then
      bad[#bad + 1] = ARGV[last + i]
    end
  end
  if #bad > 0 then
    redis.call('SADD', items, unpack(bad))
    redis.call('SADD', failed, unpack(bad))
    redis.call('PEXPIRE', failed, LIFE * 1000 + MOMENT)
    new, wrong = new + #bad, wrong + #bad
  end
end

done = done + new
errors = math.max(0, errors + wrong) -- another service may have lowered it
if new > 0 and wrong ~= 0 then
  redis.call('HSET', hash, 'done', done, 'errors', errors)
elseif new > 0 then
  redis.call('HSET', hash, 'done', done)
elseif wrong ~= 0 then
  redis.call('HSET', hash, 'errors', errors)
end

if status == 'DONE' or status == 'FAILED' then
  refresh, touch = true, 'again'
elseif redis.call('PTTL', items) <= LIFE * 1000 or redis.call('PTTL', hash) < LIFE * 1000 - 1000 then
  refresh, touch = true, 'count' -- seven writes, two and a half times a second
end
