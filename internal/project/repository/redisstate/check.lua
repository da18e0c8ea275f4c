-- Looks again, for the sweeper: neighbours write totals past us.
if not found then
  redis.call('ZREM', open, ARGV[1]) -- its life has ended, or somebody has deleted it
  return ''
end
touch = 'again' -- so that the sweeper goes round
-- No life begins anew; but what must not die before the hash lives as long as a neighbour lets the hash live.
local left = redis.call('PTTL', hash)
if left < 0 then -- for ever, which is nobody's intention
  left = LIFE * 1000
end
redis.call('PEXPIRE', items, left, 'GT')
redis.call('PEXPIRE', failed, left, 'GT')
redis.call('PEXPIRE', ownerkey, left, 'GT')
