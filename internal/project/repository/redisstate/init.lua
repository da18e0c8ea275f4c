-- Creates what is missing, and overwrites nothing. ARGV[2] the owner ('' = not known), ARGV[3] the total (0 = not known).
local changes = {}
local function fill(field, value)
  changes[#changes + 1] = field
  changes[#changes + 1] = value
end

if status == '' then
  status = 'INITIALIZING'
  fill('status', status)
end
-- Which items have been counted is in the sets. They are empty, unless a hash has been lost and they have not: were the
-- counters to begin at 0 then, those items would never count again.
if not stored[3] then
  done = redis.call('SCARD', items)
  fill('done', decimal(done))
end
if not stored[4] then
  errors = redis.call('SCARD', failed)
  fill('errors', decimal(errors))
end
local wanted = tonumber(ARGV[3])
local refused = total == 0 and wanted > 0 and final()
if total == 0 and wanted > 0 and not refused then
  total = wanted
  fill('total', ARGV[3])
elseif not stored[2] then
  fill('total', '0')
end

local crossed = store(changes)
local owner = refresh()
if not owner and ARGV[2] ~= '' then
  owner = ARGV[2]
  redis.call('SET', ownerkey, owner, 'EX', LIFE)
end
return answer(crossed, refused, owner)
