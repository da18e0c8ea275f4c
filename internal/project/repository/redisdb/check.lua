-- Checks a project for the sweeper: other services write totals without our scripts.
if not found then
  redis.call('ZREM', open, ARGV[1]) -- expired or deleted
  redis.call('PEXPIRE', items, LIFE * 1000, 'LT')
  return ''
end
touch = 'again' -- so that the sweeper goes round
-- No lifetime is renewed. The sets and the owner must not expire before the hash, whose lifetime others may extend.
local left = redis.call('PTTL', hash)
if left < 0 or left > LIFE * 1000 then -- no expiry is never intended, and the next check comes before a long one ends
  left = LIFE * 1000
end
redis.call('PEXPIRE', items, left, 'GT')
redis.call('PEXPIRE', failed, left, 'GT')
redis.call('PEXPIRE', ownerkey, left, 'GT')
