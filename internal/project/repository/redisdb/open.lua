-- Those touched longest ago first. KEYS[1] the projects we count; ARGV: milliseconds since the last touch at least, how many.
local now = redis.call('TIME')
local latest = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - tonumber(ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', latest), 'LIMIT', 0, ARGV[2])
