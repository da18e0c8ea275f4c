
-- The finish check and the reply. The reply is '' for a project that does not exist, and otherwise
-- 'total done errors flags length statusowner' with the length of the status: a string costs less than a table.
local flags = 0 -- 1 crossed, 2 unsignalled, 4 refused

-- The finish line does not apply while items are still being found. It does apply in a status that only others know.
if total > 0 and done >= total and status ~= 'CRAWLING' and status ~= 'DONE' and status ~= 'FAILED' then
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
if status == 'DONE' then
  if redis.call('ZSCORE', open, ARGV[1]) then
    flags = flags + 2
  end
elseif status == 'FAILED' then
  redis.call('ZREM', open, ARGV[1])
  redis.call('PEXPIRE', items, LIFE * 1000, 'LT')
end
if refused then
  flags = flags + 4
end
owner = owner or redis.call('GET', ownerkey) or ''
return string.format('%d %d %d %d %d ', total, done, errors, flags, #status) .. status .. owner
