-- Gives the project up. ARGV[2] the reason.
if not found then
  return {0}
end
if status == 'DONE' then
  return answer(false, true, redis.call('GET', ownerkey))
end
if status == 'FAILED' then
  redis.call('HSETNX', hash, 'failed_reason', ARGV[2]) -- a neighbour gave it up and did not say why
else
  status = 'FAILED'
  redis.call('HSET', hash, 'status', status, 'failed_reason', ARGV[2])
end
return answer(false, false, refresh())
