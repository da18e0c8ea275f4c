-- Looks again, for the sweeper: neighbours write totals past us.
if not found then
  redis.call('ZREM', open, ARGV[1]) -- its life has ended, or somebody has deleted it
  redis.call('PEXPIRE', items, LIFE * 1000, 'LT')
  return ''
end
touch = 'again' -- so that the sweeper goes round
-- No life begins anew; but what must not die before the hash lives as long as a neighbour lets the hash live.
local left = redis.call('PTTL', hash)
if left < 0 or left > LIFE * 1000 then -- for ever is nobody's intention, and the next check comes before a long life ends
  left = LIFE * 1000
end
redis.call('PEXPIRE', items, left, 'GT')
redis.call('PEXPIRE', failed, left, 'GT')
redis.call('PEXPIRE', ownerkey, left, 'GT')
