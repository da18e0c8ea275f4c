
-- The finish check. The line does not apply while items are still being found. It does apply in a status that only
-- others know.
if total > 0 and ended >= total and status ~= 'CRAWLING' and status ~= 'DONE' and status ~= 'FAILED' then
  status = 'DONE'
  redis.call('HSET', hash, 'status', status)
  flags = 1
end
if refresh then
  -- The sets never expire before the hash: a redelivered item would count twice.
  local left = LIFE * 1000
  if touch == 'count' then
    left = left + MOMENT
  end
  redis.call('PEXPIRE', items, left)
  redis.call('PEXPIRE', failed, left)
  redis.call('EXPIRE', ownerkey, LIFE)
  redis.call('EXPIRE', hash, LIFE)
end
if touch then
  local now = redis.call('TIME') -- seconds and microseconds
  local score = string.format('%s%03d', now[1], math.floor(now[2] / 1000))
  if touch == 'count' then
    redis.call('ZADD', open, score, ARGV[1])
  else
    redis.call('ZADD', open, 'XX', score, ARGV[1])
  end
end
if status == 'DONE' and total > 0 then
  if redis.call('ZSCORE', open, ARGV[1]) then
    flags = flags + 2
  end
elseif status == 'DONE' or status == 'FAILED' then -- DONE without a total: another service counted it and announces it
  redis.call('ZREM', open, ARGV[1])
  redis.call('PEXPIRE', items, LIFE * 1000, 'LT')
end
if refused then
  flags = flags + 4
end
