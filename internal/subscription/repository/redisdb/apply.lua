-- Stores a state atomically and returns 1, unless a higher version is stored: then it returns 0.
-- KEYS[1]: the hash; ARGV: version, subscription_id, plan_code, status, effective_until, updated_at, the second at
-- which the hash expires ('' = never), its minimum lifetime in seconds.
-- Versions are compared as numbers, which Lua holds exactly up to 2^53.
local have = tonumber(redis.call('HGET', KEYS[1], 'version') or '')
if have and have > tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'subscription_id', ARGV[2], 'plan_code', ARGV[3],
  'status', ARGV[4], 'effective_until', ARGV[5], 'updated_at', ARGV[6])
if ARGV[7] == '' then
  redis.call('PERSIST', KEYS[1])
else
  -- By the clock of the server: EXPIREAT with a time in the past would delete the hash, and with it the version that
  -- keeps late events out.
  local soonest = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[8])
  redis.call('EXPIREAT', KEYS[1], string.format('%d', math.max(tonumber(ARGV[7]), soonest)))
end
return 1
