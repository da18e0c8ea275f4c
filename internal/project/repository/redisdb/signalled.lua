-- Removes the project from the open ones. Runs after begin.lua; the reply has no meaning.
redis.call('ZREM', open, ARGV[1])
redis.call('PEXPIRE', items, LIFE * 1000, 'LT')
return 1
