-- Moves an open project to the end without reading it.
-- KEYS[1]: the open projects; ARGV[1]: the project's id.
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'XX', string.format('%s%03d', now[1], math.floor(now[2] / 1000)), ARGV[1])
return 1
