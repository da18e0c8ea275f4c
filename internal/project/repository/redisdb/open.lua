-- Lists open projects, least recently touched first.
-- KEYS[1]: the open projects; ARGV: the minimum of milliseconds since the last touch, the maximum number of projects.
local now = redis.call('TIME')
local latest = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - tonumber(ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', latest), 'LIMIT', 0, ARGV[2])
