-- Gives the project up. ARGV[2]: the reason.
if not found then
  return ''
end
if status == 'DONE' then
  refused = true
elseif status == 'FAILED' then
  redis.call('HSETNX', hash, 'failed_reason', ARGV[2]) -- another service may have given it up without a reason
  refresh = true
else
  status = 'FAILED'
  redis.call('HSET', hash, 'status', status, 'failed_reason', ARGV[2])
  refresh = true
end
