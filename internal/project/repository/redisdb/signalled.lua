-- In the outbox. Behind begin.lua; nothing is answered.
redis.call('ZREM', open, ARGV[1])
redis.call('PEXPIRE', items, LIFE * 1000, 'LT')
return 1
